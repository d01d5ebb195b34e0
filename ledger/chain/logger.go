package chain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	cmtlog "github.com/cometbft/cometbft/libs/log"
)

// logger passes CometBFT's log on. The engine is talkative and calls much an
// error that is the weather of a network, so everything comes down: its errors
// are our warnings, its information is for debugging, and what it would debug
// with has a level of its own below that.
type logger struct {
	to     *slog.Logger
	halted func(reason error) // called when the engine says that it gave up
}

const levelTrace = slog.LevelDebug - 4

// haltPrefix begins what the consensus engine logs when it recovers from its own
// panic, stops taking part, and tells nobody else.
const haltPrefix = "CONSENSUS FAILURE"

func (l logger) Debug(msg string, keyvals ...any) { l.log(levelTrace, msg, keyvals) }
func (l logger) Info(msg string, keyvals ...any)  { l.log(slog.LevelDebug, msg, keyvals) }
func (l logger) Warn(msg string, keyvals ...any)  { l.log(slog.LevelDebug, msg, keyvals) }

func (l logger) Error(msg string, keyvals ...any) {
	if !strings.HasPrefix(msg, haltPrefix) {
		l.log(slog.LevelWarn, msg, keyvals)
		return
	}
	l.log(slog.LevelError, msg, keyvals)
	reason := errors.New("consensus failure")
	for i := 0; i+1 < len(keyvals); i += 2 {
		if keyvals[i] == "err" {
			reason = fmt.Errorf("consensus failure: %v", keyvals[i+1])
		}
	}
	l.halted(reason)
}

func (l logger) With(keyvals ...any) cmtlog.Logger {
	l.to = l.to.With(keyvals...)
	return l
}

func (l logger) log(level slog.Level, msg string, keyvals []any) {
	ctx := context.Background()
	if l.to.Enabled(ctx, level) {
		l.to.Log(ctx, level, msg, keyvals...)
	}
}
