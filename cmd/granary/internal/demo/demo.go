package demo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"granary/cmd/granary/internal/devnet"
	"granary/cmd/granary/internal/folder"
	"granary/cmd/granary/internal/node"
	"granary/cmd/granary/internal/ui"
	"granary/sampling"
)

const (
	validators = 4
	custodians = 6
)

// Result is what the demo found; every field was measured in this run.
type Result struct {
	OK        bool   `json:"ok"`
	ID        string `json:"id"`
	Length    int64  `json:"length"`
	SHA256    string `json:"sha256"`
	Recovered string `json:"recovered_sha256"`
	Caught    bool   `json:"liar_caught"`

	CertifiedHeight int64          `json:"certified_height"`
	VotingPower     int64          `json:"voting_power"` // that attested, of TotalPower
	TotalPower      int64          `json:"total_power"`
	Verdict         sampling.State `json:"verdict"`
	Samples         int            `json:"samples"` // rows asked for
	Bits            int            `json:"bits"`    // 128 where the block was decoded
	SampleBytes     int64          `json:"sample_bytes"`
	VerdictMS       int64          `json:"verdict_ms"`
	Withheld        sampling.State `json:"withheld_verdict"`
	CutOff          sampling.State `json:"cut_off_verdict"`

	EncodeMS    int64 `json:"encode_ms"`
	CertifyMS   int64 `json:"certify_ms"`   // submitted → certified
	CustodyMS   int64 `json:"custody_ms"`   // certified → every share fsynced and found in the DHT
	RecoverMS   int64 `json:"recover_ms"`   // the newcomer's whole command
	RowsNeeded  int   `json:"rows_needed"`  // k
	RowsFetched int   `json:"rows_fetched"` // by the newcomer
	BytesRead   int64 `json:"bytes_read"`   // by the newcomer
	MemoryMiB   int64 `json:"memory_mib"`   // most of each node's process, added up; 0 where the system does not tell
	TookMS      int64 `json:"took_ms"`
}

// story is the state of one telling.
type story struct {
	ui       *ui.UI
	file     string // what is published
	name     string // under which name
	net      *devnet.Net
	record   node.Record
	alive    []*devnet.Node // custodians that were not killed
	step     int            // of the last step told
	patience time.Duration  // for anything to happen to a block
	result   Result
}

// Run tells the story of file, under the block name given, in a temporary
// folder that it removes.
func Run(ctx context.Context, u *ui.UI, file, name string) (_ Result, err error) {
	began := time.Now()
	content, err := folder.Open(file)
	if err != nil {
		return Result{}, err
	}
	length := content.Length()
	if err := content.Close(); err != nil {
		return Result{}, err
	}
	dir, err := os.MkdirTemp("", "granary-demo-")
	if err != nil {
		return Result{}, fmt.Errorf("make a temporary folder: %w", err)
	}
	s := &story{ui: u, file: file, name: name}
	defer func() {
		if s.net != nil {
			err = errors.Join(err, s.net.Close())
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	// Eleven processes share this machine: a block gets a second more for every
	// MiB to be fetched, checked and certified.
	s.patience = settle + time.Duration(length>>20)*time.Second
	plan := devnet.Plan{Validators: validators, Custodians: custodians, Others: []string{"publisher"}, AnnounceWindow: s.patience}
	if s.net, err = devnet.New(filepath.Join(dir, "net"), plan); err != nil {
		return Result{}, fmt.Errorf("lay out the network: %w", err)
	}
	for _, step := range []struct {
		name string
		tell func(context.Context) error
	}{
		{"encode", s.encode},
		{"certify", s.certify},
		{"custody", s.custody},
		{"verify", s.verify},
		{"withhold", s.withhold},
		{"cut off", s.cutOff},
		{"lose half", s.loseHalf},
		{"recover", s.recover},
		{"catch a liar", s.catchLiar},
	} {
		s.step++
		if err := step.tell(ctx); err != nil {
			return s.result, fmt.Errorf("demo, step %q: %w", step.name, err)
		}
	}
	s.result.MemoryMiB = s.net.PeakMemory() >> 20
	s.result.OK, s.result.TookMS = true, time.Since(began).Milliseconds()
	return s.result, nil
}

// step is what each step prints as JSON, with fields of its own beside it.
type step struct {
	Step  int    `json:"step"`
	Stage string `json:"stage"`
	MS    int64  `json:"ms"`
}

// told begins what the present step prints.
func (s *story) told(stage string, took time.Duration) step {
	return step{Step: s.step, Stage: stage, MS: took.Milliseconds()}
}

// encode codes the file here, without any network, to know what must come.
func (s *story) encode(ctx context.Context) error {
	began := time.Now()
	var err error
	if s.result.SHA256, s.result.Length, err = sum(s.file); err != nil {
		return err
	}
	s.record, err = folder.Inspect(ctx, s.file, s.name, func(done, total int64) {
		s.progress(node.Progress{Stage: "encode", Done: done, Total: total, Unit: "bytes"})
	})
	if err != nil {
		return err
	}
	r := s.record
	s.result.ID, s.result.RowsNeeded = r.ID, r.Rows/2
	took := time.Since(began)
	s.result.EncodeMS = took.Milliseconds()
	pieces := 2 * ((int64(r.Rows/2)*rowSize + r.PieceLength - 1) / r.PieceLength)
	return s.ui.Step(struct {
		step
		node.Record
		Pieces int64 `json:"pieces"`
	}{s.told("encode", took), r, pieces},
		"1. encode   %s, %s: k = %d rows and as many of parity, %d pieces of %s, in %s\n"+
			"            content root %s\n            parity root  %s\n            proof hash   %s\n            %s",
		r.Name, size(r.Length), r.Rows/2, pieces, size(r.PieceLength), ms(took),
		r.ContentRoot, r.ParityRoot, r.ProofHash, r.Magnet)
}

// progress shows a bar, but adds no objects to the story told as JSON.
func (s *story) progress(p node.Progress) {
	if !s.ui.JSON {
		s.ui.Progress(p)
	}
}

func sum(path string) (string, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), n, err
}
