package light_test

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"granary/ledger/light"
)

// TestSpecVectors holds the server and the client to the numbers of the text.
func TestSpecVectors(t *testing.T) {
	spec, err := os.ReadFile("../../docs/spec/light.md")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []string
	for line := range strings.Lines(string(spec)) {
		cells := strings.Split(line, "|")
		if len(cells) == 4 && strings.HasPrefix(strings.TrimSpace(cells[2]), "`82") {
			vectors = append(vectors, strings.Trim(cells[2], " `"))
		}
	}
	if len(vectors) != 7 {
		t.Fatalf("%d vectors in the text", len(vectors))
	}
	c := newSynth(t, 4)
	c.publish("a")
	for _, v := range vectors {
		req, err := hex.DecodeString(v)
		if err != nil {
			t.Fatal(err)
		}
		if got := light.Serve(c, req); got[1] == 1 {
			t.Errorf("request %s is refused as malformed", v)
		}
		// Any other length of an integer, and anything after it, is not the encoding.
		for _, bad := range [][]byte{append(req, 0), req[:len(req)-1], append([]byte{0x98, 2}, req[1:]...)} {
			if got := hex.EncodeToString(light.Serve(c, bad)); got != "820140" {
				t.Errorf("request %x is answered by %.20s", bad, got)
			}
		}
	}
	none, _ := hex.DecodeString(vectors[1])
	if got := hex.EncodeToString(light.Serve(c, none)); got != "820240" {
		t.Errorf("a height that is not there: %s", got)
	}

	var sent []string
	cl, _ := client(t, c, light.Config{}, func(protocol string, req []byte) ([]byte, error) {
		sent = append(sent, hex.EncodeToString(req))
		return honest(c)(protocol, req)
	})
	exercise(t.Context(), cl)
	for _, want := range []string{"8201820100", vectors[5], vectors[6]} {
		found := false
		for _, s := range sent {
			found = found || s == want
		}
		if !found {
			t.Errorf("the client never sent %s, but %v", want, sent)
		}
	}
}
