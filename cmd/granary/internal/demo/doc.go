// Package demo tells the whole story of one block on real parts: it is coded,
// published, kept in parts by custodians, and comes back whole after its
// publisher and half of them were killed; a liar is caught on the way.
//
// Every node is a child process and every kill a SIGKILL. A step that does
// not hold ends the story with an error; nothing is left behind.
package demo
