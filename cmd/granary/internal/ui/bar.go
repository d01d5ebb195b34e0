package ui

import (
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/dustin/go-humanize"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"granary/cmd/granary/internal/node"
)

// bar shows one stage of the work on a terminal.
type bar struct {
	stage string
	pool  *mpb.Progress
	bar   *mpb.Bar
	text  atomic.Pointer[string] // what stands behind the bar; the pool's goroutine reads it
}

func newBar(w io.Writer, p node.Progress) *bar {
	b := &bar{stage: p.Stage, pool: mpb.New(mpb.WithOutput(w), mpb.WithWidth(32), mpb.WithAutoRefresh())}
	b.say(p)
	b.bar = b.pool.AddBar(max(p.Total, 1),
		mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(fmt.Sprintf("%-9s", p.Stage))),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return *b.text.Load() })),
	)
	return b
}

func (b *bar) set(p node.Progress) {
	b.say(p)
	// One below the end until end(): a full bar removes itself.
	b.bar.SetTotal(max(p.Total, 1)+1, false)
	b.bar.SetCurrent(p.Done)
}

func (b *bar) say(p node.Progress) {
	text := amount(p)
	b.text.Store(&text)
}

func (b *bar) end() {
	b.bar.Abort(true)
	b.pool.Wait()
}

// line is p in words.
func line(p node.Progress) string {
	return strings.TrimSpace(p.Stage + " " + amount(p))
}

func amount(p node.Progress) string {
	var parts []string
	switch {
	case p.Total == 0:
	case p.Unit == "bytes":
		parts = append(parts, fmt.Sprintf("%s of %s", humanize.IBytes(uint64(p.Done)), humanize.IBytes(uint64(p.Total))))
	default:
		parts = append(parts, fmt.Sprintf("%d of %d %s", p.Done, p.Total, p.Unit))
	}
	if p.Text != "" {
		parts = append(parts, p.Text)
	}
	return strings.Join(parts, ", ")
}
