package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// imports says which of our packages each part may import. What is not listed
// may import nothing of ours; a sub-package may import what its parent may,
// and its parent. See docs/architecture.md.
var imports = map[string][]string{
	"erasure":                      {},
	"blobstore":                    {"erasure"},
	"swarm":                        {"erasure"},
	"sampling":                     {"erasure"},
	"ledger":                       {"erasure"},
	"cmd/granary/internal/durable": {},
	"cmd/granary/internal/bans":    {"cmd/granary/internal/durable"},
	"cmd/granary/internal/deny":    {"erasure", "ledger", "cmd/granary/internal/durable"},
	"cmd/granary/internal/traffic": {"cmd/granary/internal/durable"},
	"cmd/granary/internal/gather":  {"erasure", "blobstore", "swarm", "sampling"},
	"cmd/granary/internal/config":  {"ledger", "cmd/granary/internal/durable"},
	"cmd/granary/internal/journal": {"erasure", "sampling", "cmd/granary/internal/durable"},
	"cmd/granary/internal/node":    {"erasure", "blobstore", "swarm", "sampling", "ledger", "cmd/granary/internal/bans", "cmd/granary/internal/deny", "cmd/granary/internal/durable", "cmd/granary/internal/gather", "cmd/granary/internal/journal", "cmd/granary/internal/traffic"},
	"cmd/granary/internal/folder":  {"erasure", "cmd/granary/internal/durable", "cmd/granary/internal/node"},
	"cmd/granary/internal/exit":    {"erasure", "blobstore", "swarm", "sampling", "ledger", "cmd/granary/internal/config", "cmd/granary/internal/deny", "cmd/granary/internal/folder", "cmd/granary/internal/node", "cmd/granary/internal/traffic"},
	"cmd/granary/internal/gateway": {"erasure", "blobstore", "sampling", "ledger", "cmd/granary/internal/exit", "cmd/granary/internal/journal", "cmd/granary/internal/node"},
	"cmd/granary/internal/ui":      {"cmd/granary/internal/exit", "cmd/granary/internal/gateway", "cmd/granary/internal/node"},
	"cmd/granary/internal/devnet":  {"ledger", "cmd/granary/internal/config", "cmd/granary/internal/durable", "cmd/granary/internal/gateway"},
	"cmd/granary/internal/demo":    {"erasure", "sampling", "cmd/granary/internal/devnet", "cmd/granary/internal/exit", "cmd/granary/internal/folder", "cmd/granary/internal/gateway", "cmd/granary/internal/node", "cmd/granary/internal/ui"},
	"cmd/granary":                  {"erasure", "blobstore", "sampling", "ledger", "cmd/granary/internal"},
	"swarm/utp":                    {},
}

// heavy says which dependencies stay out of the packages that must build and
// fuzz in seconds.
var heavy = map[string][]string{
	"erasure":  {"github.com/libp2p", "github.com/anacrolix", "github.com/cometbft", "go.etcd.io", "net/http"},
	"sampling": {"github.com/libp2p", "github.com/anacrolix", "github.com/cometbft"},
	"ledger":   {"github.com/libp2p", "github.com/anacrolix", "github.com/cometbft", "go.etcd.io", "net/http"},
}

// TestImports parses the sources, because the answer of a tool that lists
// packages would be cached by go test and outlive the mistake.
func TestImports(t *testing.T) {
	root := "../.."
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(rel))
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			check(t, pkg, rel, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, pkg, file, name string) {
	t.Helper()
	for _, h := range heavy[pkg] {
		if within(h, name) {
			t.Errorf("%s imports %s: %s must stay light", file, name, pkg)
		}
	}
	ours, ok := strings.CutPrefix(name, "granary/")
	if !ok || within(pkg, ours) {
		return
	}
	part := pkg
	allowed, listed := imports[part]
	for !listed && strings.Contains(part, "/") {
		part = part[:strings.LastIndex(part, "/")]
		allowed, listed = imports[part]
		if within(part, ours) {
			return // a sub-package may import its parent and its siblings' parent
		}
	}
	if !listed {
		t.Errorf("%s: package %s is not in the list of who may import what", file, pkg)
		return
	}
	if !slices.ContainsFunc(allowed, func(a string) bool { return within(a, ours) }) {
		t.Errorf("%s imports %s: %s may import only %v", file, ours, part, allowed)
	}
}

// within reports whether pkg is dir or lies below it.
func within(dir, pkg string) bool { return pkg == dir || strings.HasPrefix(pkg, dir+"/") }
