// Package storetest holds the contract that every store of blocks keeps, as tests
// that a store's own tests run: the one on disk does, and one in object storage
// must.
//
//	func TestContract(t *testing.T) {
//		storetest.Run(t, open)
//	}
//
// Store and Block are what the rest of Granary calls: a node to take blocks in, to
// complete, drop and delete them, the BitTorrent engine to read, write and commit
// pieces, those who sample to read rows. Errors are those of package blobstore.
//
// What tests from outside cannot show, a store owes too: docs/design/0009 says
// what, and how ours shows it.
package storetest
