package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"granary/cmd/granary/internal/config"
	"granary/cmd/granary/internal/journal"
	"granary/cmd/granary/internal/node"
)

// scrubHistory prints the home's journal of scrubs, whether a node runs or not.
func (a *app) scrubHistory() error {
	if _, err := config.OpenHome(a.home); err != nil {
		return err
	}
	all, err := node.ScrubHistory(a.home)
	if err != nil {
		return err
	}
	if all == nil {
		all = []journal.Scrub{}
	}
	if len(all) == 0 {
		a.ui.Note("no scrub has ended in this home yet")
	}
	return a.ui.Result(map[string]any{"scrubs": all}, func(w io.Writer) {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, e := range all {
			fmt.Fprintf(t, "%s\t%s\t%s\n", e.Time.Local().Format(time.DateTime), e.By, scrubWords(e))
		}
		t.Flush()
	})
}

// scrubWords tells people of one entry.
func scrubWords(e journal.Scrub) string {
	if e.ID == "" {
		return fmt.Sprintf("%s, %s looked at since %s", count(e.Blocks, "block"), humanize.IBytes(uint64(e.Bytes)), e.Since.Local().Format(time.DateTime))
	}
	words := fmt.Sprintf("%.16s…  %s", e.ID, e.State)
	if e.Bad > 0 {
		words += fmt.Sprintf(": %s damaged, %d repaired, %d left", count(e.Bad, "piece"), e.Repaired, e.Lost)
	}
	if len(e.Mended) > 0 {
		words += "; files mended: " + strings.Join(e.Mended, " ")
	}
	if e.Err != "" {
		words += "; " + e.Err
	}
	return words
}
