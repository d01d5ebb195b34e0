// Package journal keeps what a home must not forget: the rows that it has drawn
// for tests that are not settled, its verdicts, and what scrubs of its blocks
// found and did.
//
// A test is worth its bits only if its rows were drawn before the first
// request and never again, so Draw syncs them to the disk before anybody can
// ask for them, and returns the same ones, also after a crash, until the test
// is settled. Verdicts are lines of JSON of at most 1 KiB each, in two files of
// at most 2 MiB, so that a person can read them and the disk never fills. Scrubs
// are kept likewise, in files of at most 1 MiB.
//
// It is not for rows themselves, of which a light node keeps none. One process
// writes a home's journal, that which holds the home; any may read its history.
//
// Trust: the folder is the owner's. A damaged line is skipped, a damaged draw
// is made anew: nobody but the owner of the disk can bring that about.
//
// Files are specified in docs/spec/home.md.
package journal
