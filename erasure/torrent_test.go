package erasure_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"granary/erasure"
)

// bundle returns a block of k rows, without its proof, as a torrent tells it.
func bundle(t testing.TB, k int) erasure.Bundle {
	t.Helper()
	b, _, _ := commit(t, random(9, k*erasure.RowSize-1))
	b.Proof = nil
	return b
}

func TestTorrentRoundTrip(t *testing.T) {
	for _, k := range []int{1, 2, 3, 5, 512, 513} {
		b := bundle(t, k)
		got, err := erasure.ParseTorrent(b.Torrent())
		if err != nil || !reflect.DeepEqual(got, b) {
			t.Errorf("k = %d: %v, or another bundle", k, err)
		}
	}
}

func TestTorrentIsCanonicalBencoding(t *testing.T) {
	for _, k := range []int{1, 2, 3} {
		b := bundle(t, k)
		layers := make(map[string]any)
		if k > 1 {
			layers[string(b.Info.Content[:])] = string(encodeRoots(b.Layers.Content))
			layers[string(b.Info.Parity[:])] = string(encodeRoots(b.Layers.Parity))
		}
		want := "d4:info" + string(b.Info.Encode()) + "12:piece layers" + refBencode(layers) + "e"
		if got := string(b.Torrent()); got != want {
			t.Errorf("k = %d: %q, want %q", k, got, want)
		}
	}
}

// Equal rows make the parity equal to the content when k is a power of two,
// always so for k = 1: both files have one root, and share one layer.
func TestTorrentOfTwoFilesWithOneRoot(t *testing.T) {
	for _, k := range []int{1, 2, 4, 1024} {
		b, _, _ := commit(t, bytes.Repeat(random(1, erasure.RowSize), k))
		if b.Info.Content != b.Info.Parity {
			t.Errorf("k = %d: the roots differ", k)
		}
		b.Proof = nil
		got, err := erasure.ParseTorrent(b.Torrent())
		if err != nil || !reflect.DeepEqual(got, b) {
			t.Errorf("k = %d: %v, or another bundle", k, err)
		}
		if n := strings.Count(string(b.Torrent()), "32:"+string(b.Info.Content[:])); k > 1 && n != 3 {
			t.Errorf("k = %d: the root occurs %d times, want 2 files and 1 layer", k, n)
		}
	}
}

func TestParseTorrentDropsWhatOthersAdd(t *testing.T) {
	b := bundle(t, 3)
	own := string(b.Torrent())
	info := string(b.Info.Encode())
	layers := own[len("d4:info")+len(info) : len(own)-1]
	theirs := "d8:announce22:http://tracker.invalid13:announce-listll22:http://tracker.invalidee10:created by3:abc13:creation datei-5e4:info" +
		info + layers + "8:url-listl3:abcd1:ai0eeee"
	got, err := erasure.ParseTorrent([]byte(theirs))
	if err != nil || !reflect.DeepEqual(got, b) {
		t.Errorf("%v, or another bundle", err)
	}
	one := bundle(t, 1)
	if got, err := erasure.ParseTorrent([]byte("d4:info" + string(one.Info.Encode()) + "e")); err != nil || !reflect.DeepEqual(got, one) {
		t.Errorf("no piece layers at k = 1: %v, or another bundle", err)
	}
}

func TestParseTorrentRefuses(t *testing.T) {
	b, one := bundle(t, 3), bundle(t, 1)
	good := string(b.Torrent())
	info := string(b.Info.Encode())
	layers := func(pairs ...string) string {
		s := "d4:info" + info + "12:piece layersd"
		for _, p := range pairs {
			s += fmt.Sprintf("%d:%s", len(p), p)
		}
		return s + "ee"
	}
	content, parity := string(b.Info.Content[:]), string(b.Info.Parity[:])
	contentLayer, parityLayer := string(encodeRoots(b.Layers.Content)), string(encodeRoots(b.Layers.Parity))
	if content > parity {
		content, parity, contentLayer, parityLayer = parity, content, parityLayer, contentLayer
	}
	if layers(content, contentLayer, parity, parityLayer) != good {
		t.Fatal("the test builds torrents wrongly")
	}
	for what, bad := range map[string]string{
		"nothing":                   "",
		"no dictionary":             "le",
		"no info":                   "d12:piece layersdee",
		"an info of another kind":   strings.Replace(good, "meta versioni2e", "meta versioni1e", 1),
		"bytes after the end":       good + "\n",
		"a truncated one":           good[:len(good)-1],
		"no layers":                 "d4:info" + info + "e",
		"one layer":                 layers(content, contentLayer),
		"layers swapped":            layers(content, parityLayer, parity, contentLayer),
		"layers out of order":       layers(parity, parityLayer, content, contentLayer),
		"a layer twice":             layers(content, contentLayer, content, contentLayer, parity, parityLayer),
		"a short layer":             layers(content, contentLayer[:64], parity, parityLayer),
		"a layer of a broken hash":  layers(content, contentLayer+"x", parity, parityLayer),
		"a layer of another file":   layers("\x00", contentLayer, content, contentLayer, parity, parityLayer),
		"a layer where none is due": "d4:info" + string(one.Info.Encode()) + "12:piece layersd32:" + string(one.Info.Content[:]) + "32:" + string(one.Info.Content[:]) + "ee",
		"keys out of order":         "d4:info" + info + "1:ai0e" + good[len("d4:info")+len(info):],
		"a key twice":               "d4:info" + info + good[1:],
		"nesting without end":       "d1:a" + strings.Repeat("l", 5000),
		"negative zero":             "d1:ai-0e" + good[1:],
		"too many bytes":            "d1:a1048576:" + strings.Repeat("x", 1<<20) + good[1:],
	} {
		if _, err := erasure.ParseTorrent([]byte(bad)); !errors.Is(err, erasure.ErrTorrent) {
			t.Errorf("%s: error %v, want ErrTorrent", what, err)
		}
	}
}

func TestLayersRoundTrip(t *testing.T) {
	b := bundle(t, 513)
	got, err := erasure.ParseLayers(b.Info, b.Layers.Encode())
	if err != nil || !reflect.DeepEqual(got, b.Layers) {
		t.Errorf("%v, or other layers", err)
	}
	flipped := b.Layers.Encode()
	flipped[len(flipped)-1] ^= 1
	for what, bad := range map[string][]byte{"none": nil, "short": flipped[32:], "long": append(b.Layers.Encode(), 0), "flipped": flipped} {
		if _, err := erasure.ParseLayers(b.Info, bad); !errors.Is(err, erasure.ErrLayers) {
			t.Errorf("%s: error %v, want ErrLayers", what, err)
		}
	}
}

func TestBundleCheck(t *testing.T) {
	good, _, _ := commit(t, random(1, 40000))
	for what, c := range map[string]struct {
		change func(b *erasure.Bundle)
		want   error
	}{
		"proof":        {func(b *erasure.Bundle) { b.Proof = make([]byte, len(b.Proof)) }, erasure.ErrProof},
		"proof length": {func(b *erasure.Bundle) { b.Proof = b.Proof[:16] }, erasure.ErrProof},
		"no proof":     {func(b *erasure.Bundle) { b.Proof = nil }, nil},
		"nothing":      {func(*erasure.Bundle) {}, nil},
		"layers":       {func(b *erasure.Bundle) { b.Layers.Content = b.Layers.Parity }, erasure.ErrLayers},
		"no layers":    {func(b *erasure.Bundle) { b.Layers = erasure.Layers{} }, erasure.ErrLayers},
		"root":         {func(b *erasure.Bundle) { b.Info.Parity[0]++ }, erasure.ErrLayers},
		"length":       {func(b *erasure.Bundle) { b.Info.Length = 0 }, erasure.ErrLength},
		"name":         {func(b *erasure.Bundle) { b.Info.Name = "" }, erasure.ErrName},
	} {
		b := good
		c.change(&b)
		if err := b.Check(); !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", what, err, c.want)
		}
	}
}

func TestParseMagnet(t *testing.T) {
	id := example().ID()
	hex := id.String()
	for _, s := range []string{
		id.Magnet(),
		"MAGNET:?xt=urn:btmh:1220" + strings.ToUpper(hex),
		"magnet:?xt=urn%3Abtmh%3A1220" + hex,
		"magnet:?xt=URN:BTMH:1220" + hex,
		"magnet:?dn=a+name&xt=urn:btmh:1220" + hex + "&tr=http%3A%2F%2Fa&tr=b&tr.1=c&x.pe=1.2.3.4:5&ws=http://a&xs=b&as=c&xl=5&kt=a&so=0&mt=x",
	} {
		if got, err := erasure.ParseMagnet(s); err != nil || got != id {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "magnet:", "magnet:?", hex, "http://a/?xt=urn:btmh:1220" + hex,
		"magnet:?dn=a",
		"magnet:?xt=",
		"magnet:?xt=urn:btih:0123456789012345678901234567890123456789",
		"magnet:?xt=urn:btmh:1220" + hex[1:],
		"magnet:?xt=urn:btmh:1220" + hex + "0",
		"magnet:?xt=urn:btmh:1220" + hex[1:] + "g",
		"magnet:?xt=urn:btmh:1114" + hex,
		"magnet:?xt=urn:btmh:" + hex,
		"magnet:?xt=urn:btmh:1220" + hex + "&xt=urn:btmh:1220" + hex,
		"magnet:?xt=urn:btmh:1220" + hex + "&xt=urn:btih:0123456789012345678901234567890123456789",
		"magnet:?xt.1=urn:btmh:1220" + hex,
		"magnet:?xt=urn:btmh:1220" + hex + "&zz=1",
		"magnet:?xt=urn:btmh:1220" + hex + "&",
		"magnet:?xt=urn:btmh:1220%zz" + hex,
		"magnet:?xt=urn:btmh:1220" + hex + "&dn=" + strings.Repeat("x", 1<<15),
	} {
		if got, err := erasure.ParseMagnet(s); !errors.Is(err, erasure.ErrMagnet) {
			t.Errorf("%q: %v, %v, want ErrMagnet", s, got, err)
		}
	}
}

func FuzzParseTorrent(f *testing.F) {
	for _, k := range []int{1, 2, 3} {
		f.Add(bundle(f, k).Torrent())
	}
	f.Add([]byte("d1:ali0ei-1e3:abcdee4:infodee"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := erasure.ParseTorrent(data)
		if err != nil {
			if !errors.Is(err, erasure.ErrTorrent) {
				t.Errorf("error %v, want ErrTorrent", err)
			}
			return
		}
		if again, err := erasure.ParseTorrent(b.Torrent()); err != nil || !reflect.DeepEqual(again, b) {
			t.Errorf("%v, or another bundle", err)
		}
	})
}

func FuzzParseLayers(f *testing.F) {
	b := bundle(f, 3)
	f.Add(b.Layers.Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if l, err := erasure.ParseLayers(b.Info, data); err == nil && !reflect.DeepEqual(l, b.Layers) {
			t.Error("forged layers")
		}
	})
}

func FuzzParseMagnet(f *testing.F) {
	f.Add(example().ID().Magnet())
	f.Add("magnet:?dn=a&xt=urn%3Abtmh%3A1220&tr=b")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := erasure.ParseMagnet(s)
		if err != nil {
			if !errors.Is(err, erasure.ErrMagnet) {
				t.Errorf("error %v, want ErrMagnet", err)
			}
			return
		}
		if again, err := erasure.ParseMagnet(id.Magnet()); err != nil || again != id {
			t.Errorf("%v is not %v (%v)", again, id, err)
		}
	})
}
