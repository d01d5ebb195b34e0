// Package demo tells the whole story of one block on real parts: it is coded,
// announced, checked and certified by validators, kept in parts by custodians,
// and judged available by a light client; a second block that is withheld is
// judged unavailable, and a light client that is cut off says that it cannot
// tell. Then the validators drop the first block, its publisher and half of the
// custodians are killed, and it comes back whole; a liar is caught on the way.
//
// Every node is a child process and every kill a SIGKILL. A step that does
// not hold ends the story with an error; nothing is left behind.
package demo
