// Package devnet runs a small network on loopback: every node is a child
// process of the same binary with a home, an address and ports of its own.
//
// Children hang on a pipe from this process and end when it does, however it
// ends. Each node has its own 127.x.y.z where the system routes all of
// 127.0.0.0/8 (Linux), because BitTorrent bans by address; elsewhere they
// share 127.0.0.1 and differ by port.
package devnet
