package node

// RemoveScratch removes what a crash left of tests.
var RemoveScratch = removeScratch
