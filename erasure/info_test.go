package erasure_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"granary/erasure"
)

// example is an info with every field different.
func example() erasure.Info {
	return erasure.Info{
		Name:      "greeting.txt",
		Length:    20000,
		Content:   erasure.Root{1},
		Parity:    erasure.Root{2},
		ProofHash: [32]byte{3},
	}
}

func TestInfoIsCanonicalBencoding(t *testing.T) {
	i := example()
	root := func(first string) string { return first + strings.Repeat("\x00", 31) }
	want := "d9:file treed" +
		"12:greeting.txtd0:d6:lengthi32768e11:pieces root32:" + root("\x01") + "ee" +
		"19:greeting.txt.parityd0:d6:lengthi32768e11:pieces root32:" + root("\x02") + "ee" +
		"e7:granaryd6:lengthi20000e5:proof32:" + root("\x03") + "1:vi1ee" +
		"12:meta versioni2e4:name12:greeting.txt12:piece lengthi16384ee"
	if got := string(i.Encode()); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	got, err := erasure.ParseInfo([]byte(want))
	if err != nil || got != i {
		t.Errorf("parsed %+v, %v, want %+v", got, err, i)
	}
}

func TestParseInfoRefusesEveryOtherForm(t *testing.T) {
	good := string(example().Encode())
	replace := func(old, new string) string {
		if strings.Count(good, old) < 1 {
			t.Fatalf("%q is not in the example", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for what, bad := range map[string]string{
		"nothing":                 "",
		"an empty dictionary":     "de",
		"a truncated one":         good[:len(good)-1],
		"bytes after the end":     good + "e",
		"a leading zero":          replace("i20000e", "i020000e"),
		"a plus sign":             replace("i20000e", "i+20000e"),
		"a negative length":       replace("i20000e", "i-20000e"),
		"no length":               replace("i20000e", "i0e"),
		"an overlong length":      replace("i20000e", "i99999999999999999999e"),
		"a length of other rows":  replace("i20000e", "i16384e"),
		"another file length":     replace("i32768e", "i32767e"),
		"another version":         replace("1:vi1e", "1:vi2e"),
		"another meta version":    replace("meta versioni2e", "meta versioni1e"),
		"another piece length":    replace("lengthi16384e", "lengthi32768e"),
		"another parity name":     replace("19:greeting.txt.parity", "19:greeting.txt.paritx"),
		"another content name":    replace("e4:name12:greeting.txt", "e4:name12:greeting.dat"),
		"a long string number":    replace("4:name", "04:name"),
		"a short root":            replace("32:\x01\x00", "31:\x01"),
		"an unknown key":          replace("e12:meta version", "e1:ai1e12:meta version"),
		"an unknown inner key":    replace("1:vi1e", "1:vi1e1:wi1e"),
		"a private flag":          good[:len(good)-1] + "7:privatei1ee",
		"a refused name":          strings.ReplaceAll(good, "greeting.txt", "greeting/txt"),
		"a string beyond the end": replace("12:greeting.txtd", "99999:greeting.txtd"),
		"too many bytes":          good + strings.Repeat("e", 2000),
	} {
		if i, err := erasure.ParseInfo([]byte(bad)); !errors.Is(err, erasure.ErrInfo) {
			t.Errorf("%s: %+v, %v, want ErrInfo", what, i, err)
		}
	}
}

func TestInfoOfTheLargestBlockAndLongestNameParses(t *testing.T) {
	i := example()
	i.Length = erasure.MaxLength
	i.Name = strings.Repeat("n", 200)
	got, err := erasure.ParseInfo(i.Encode())
	if err != nil || got != i {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestIDDependsOnEveryField(t *testing.T) {
	seen := map[erasure.ID]string{example().ID(): "example"}
	for what, change := range map[string]func(i *erasure.Info){
		"name":    func(i *erasure.Info) { i.Name = "other" },
		"length":  func(i *erasure.Info) { i.Length++ },
		"content": func(i *erasure.Info) { i.Content[31] ^= 1 },
		"parity":  func(i *erasure.Info) { i.Parity[31] ^= 1 },
		"proof":   func(i *erasure.Info) { i.ProofHash[31] ^= 1 },
		"roots":   func(i *erasure.Info) { i.Content, i.Parity = i.Parity, i.Content },
	} {
		i := example()
		change(&i)
		if other, ok := seen[i.ID()]; ok {
			t.Errorf("another %s has the ID of another %s", what, other)
		}
		seen[i.ID()] = what
	}
}

// Names at the edge of every rule; TestNameVectors checks them.
var (
	goodNames = []string{
		"a", "block", "content.tar.gz", "Ünïcödé", "数据", "данные.bin", "a b", "-", "~", "#1", "con1", "COM", "COM10", "COMA", "xCON", "CONs.txt",
		"nulls", "parity", "a.parity.gz", "aparity", "emoji 👩‍🌾", strings.Repeat("x", 200), "a" + "\u3000" + "b", "\ue000", "\U00020000",
	}
	badNames = []string{
		"", strings.Repeat("x", 201), "\xff", "a\xc0\xafb", "\xed\xa0\x80", "a/b", `a\b`, "..", ".", ".hidden", "a.", " a", "a ", "a\u00a0", "\u3000a", "a\u2003",
		"a\x00", "a\n", "a\x7f", "a\u0085", "a<b", "a>b", "a:b", `a"b`, "a|b", "a?b", "a*b",
		"a\u202eb", "a\u200fb", "a\u061cb", "a\u2066b", "a\u2028b", "a\u200bb", "a\ufeffb", "a\u00adb", "a\ufffdb", "a\uffffb", "a\ufdd0b", "a\U0001fffeb", "a\U000e0041b", "a\U0010ffffb",
		"con", "CON", "Con.txt", "nul", "NUL .txt", "aux.", "AUX.tar.gz", "prn", "com1", "COM0", "lpt9.log", "com¹", "LPT³.x", "CONIN$", "conout$", "clock$",
		"a.parity", "a.PARITY", "a.Parity",
	}
)

func FuzzParseInfo(f *testing.F) {
	f.Add(example().Encode())
	f.Add([]byte("d9:file treed1:ad0:d6:lengthi16384e"))
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := erasure.ParseInfo(b)
		if err != nil {
			if !errors.Is(err, erasure.ErrInfo) {
				t.Errorf("error %v, want ErrInfo", err)
			}
			return
		}
		if err := i.Validate(); err != nil || !bytes.Equal(i.Encode(), b) {
			t.Errorf("accepted %q, which is not the encoding of %+v (%v)", b, i, err)
		}
	})
}

func FuzzCheckName(f *testing.F) {
	f.Add("content.txt")
	f.Fuzz(func(t *testing.T, name string) {
		if erasure.CheckName(name) == nil && strings.ContainsAny(name, "/\\\x00\n") {
			t.Errorf("%q is accepted", name)
		}
	})
}
