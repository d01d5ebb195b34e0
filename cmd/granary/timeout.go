package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// timeout is the value of --timeout: 0 and less would mean something else to
// everybody who reads it.
type timeout time.Duration

// addTimeout adds --timeout, whose default is what p has.
func addTimeout(cmd *cobra.Command, p *time.Duration, usage string) {
	cmd.Flags().Var((*timeout)(p), "timeout", usage)
}

// String implements pflag.Value.
func (p *timeout) String() string { return time.Duration(*p).String() }

// Set implements pflag.Value.
func (p *timeout) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is not a time to wait, such as 30s or 5m", text)
	}
	*p = timeout(d)
	return nil
}

// Type implements pflag.Value.
func (p *timeout) Type() string { return "duration" }
