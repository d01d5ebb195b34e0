package node_test

import (
	"encoding/json"
	"errors"
	"testing"

	"granary/cmd/granary/internal/node"
	"granary/erasure"
)

func sample() erasure.Info {
	return erasure.Info{Name: "file", Length: 40_000, Content: erasure.Root{1}, Parity: erasure.Root{2}, ProofHash: [32]byte{3}}
}

func TestRecordReadsBackAsItsInfo(t *testing.T) {
	raw, err := json.Marshal(node.NewRecord(sample()))
	if err != nil {
		t.Fatal(err)
	}
	got, err := node.ParseRecord(raw)
	if err != nil || got != sample() {
		t.Errorf("ParseRecord = %+v, %v; want %+v", got, err, sample())
	}
}

func TestRecordThatContradictsItselfIsRefused(t *testing.T) {
	good := node.NewRecord(sample())
	for name, alter := range map[string]func(*node.Record){
		"version":      func(r *node.Record) { r.V = 2 },
		"ID":           func(r *node.Record) { r.ID = r.ID[1:] + "0" },
		"name":         func(r *node.Record) { r.Name = "other" },
		"length":       func(r *node.Record) { r.Length++ },
		"empty":        func(r *node.Record) { r.Length = 0 },
		"rows":         func(r *node.Record) { r.Rows = 8 },
		"piece length": func(r *node.Record) { r.PieceLength *= 2 },
		"content root": func(r *node.Record) { r.ContentRoot = r.ParityRoot },
		"short root":   func(r *node.Record) { r.ParityRoot = r.ParityRoot[2:] },
		"proof hash":   func(r *node.Record) { r.ProofHash = "" },
		"magnet":       func(r *node.Record) { r.Magnet += "&tr=http://x" },
	} {
		r := good
		alter(&r)
		raw, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := node.ParseRecord(raw); !errors.Is(err, erasure.ErrInfo) {
			t.Errorf("altered %s: error %v, want ErrInfo", name, err)
		}
	}
}

func TestReferences(t *testing.T) {
	id := sample().ID()
	for text, want := range map[string]node.Ref{
		id.String():       {ID: id},
		id.Magnet():       {ID: id},
		id.String()[:8]:   {Prefix: id.String()[:8]},
		"0123ABCDEF":      {Prefix: "0123abcdef"},
		"@name":           {Name: "name"},
		id.String() + "0": {}, "0123abc": {}, "xyzxyzxyz": {}, "": {}, "@": {}, "#": {}, "#-1": {}, "magnet:": {},
	} {
		got, err := node.ParseRef(text)
		if got != want || (err == nil) != (want != node.Ref{}) {
			t.Errorf("ParseRef(%q) = %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	raw, err := json.Marshal(node.NewRecord(sample()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"v":1,"length":-1}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		i, err := node.ParseRecord(raw)
		if err == nil && node.NewRecord(i).ID != i.ID().String() {
			t.Errorf("record of %+v has another ID", i)
		}
	})
}
