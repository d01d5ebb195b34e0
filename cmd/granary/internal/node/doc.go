// Package node assembles a Granary node and holds its use cases: publish,
// fetch, keep custody, tell how things stand.
//
// It is the only place that knows every part: swarm moves pieces, sampling
// finds holders and serves rows, blobstore keeps bytes, ledger says what an
// announcement is. None of those knows another; they meet here through the
// small interfaces each of them declares.
//
// Invariants: a piece counts as held only after blobstore has verified,
// fsynced and indexed it, and only then is it announced; a fetched block
// counts as whole only after its re-encoding gave both roots and the proof
// vector; peers are never trusted, whoever named them.
package node
