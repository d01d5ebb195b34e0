package main

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"granary/cmd/granary/internal/folder"
	"granary/cmd/granary/internal/gateway"
	"granary/cmd/granary/internal/node"
)

// TestEveryFieldOfAResultIsDocumented: scripts rely on what docs/json.md says.
func TestEveryFieldOfAResultIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[reflect.Type]bool{}
	var look func(reflect.Type)
	look = func(of reflect.Type) {
		for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice || of.Kind() == reflect.Array {
			of = of.Elem()
		}
		// Parameters are the ledger's, and what writes itself as text has no fields.
		if of.Kind() != reflect.Struct || seen[of] || !strings.HasPrefix(of.PkgPath(), "granary/cmd") {
			return
		}
		seen[of] = true
		for i := range of.NumField() {
			field := of.Field(i)
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if name == "-" || !field.IsExported() {
				continue
			}
			if name != "" && !strings.Contains(string(doc), "`"+name+"`") {
				t.Errorf("docs/json.md does not have `%s` of %s", name, of)
			}
			look(field.Type)
		}
	}
	for _, v := range []any{
		gateway.ProgressMessage{},
		gateway.ErrorMessage{},
		gateway.HoldersReply{},
		folder.Decoded{},
		node.PublishResult{},
		node.FetchResult{},
		node.VerifyResult{},
		node.Watched{},
		node.BlockStatus{},
		node.Standing{},
		node.ScrubResult{},
		node.ScrubSummary{},
		node.NameStatus{},
		node.NameStep{},
		node.CreditStatus{},
		node.NetworkStatus{},
		node.Decided{},
		node.Status{},
		node.PeersStatus{},
	} {
		look(reflect.TypeOf(v))
	}
}
