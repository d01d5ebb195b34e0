//go:build race

package sampling_test

// defaultDraws is small here: verifying a row takes a hundred times as long.
const defaultDraws = 20
