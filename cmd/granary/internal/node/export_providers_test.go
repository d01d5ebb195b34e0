package node

// AwaitSearch waits between two searches for those who answer for the ledger.
var AwaitSearch = awaitSearch
