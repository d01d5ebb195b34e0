//go:build !race

package sampling_test

const defaultDraws = 150
