// Package chain is being written: a validator or full node of the ledger.
package chain
