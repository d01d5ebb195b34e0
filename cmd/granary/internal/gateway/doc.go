// Package gateway is how commands reach a running node: HTTP over the socket
// in the node's home.
//
// Long calls answer with one JSON object per line, the same that `--json`
// prints: any number of "progress", then one "result" or "error". An error
// keeps its exit status and hint on the way.
//
// A one-shot command in a home where no node runs serves this socket too and
// talks to itself, so there is one way through, and `granary status` sees it.
//
// Trust: whoever can open the socket is the home's owner; the file's mode
// sees to that. Nothing here listens on a network.
package gateway
