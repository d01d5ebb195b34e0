package erasure

import (
	"bytes"
	"errors"
	"fmt"
)

// maxTorrent bounds a torrent file in bytes. Ours take 40 KB at most; the
// rest is what other programs may have added.
const maxTorrent = 1 << 20

// ErrTorrent reports bytes that are not the torrent file of a block.
var ErrTorrent = errors.New("not a block's torrent file")

// Torrent returns the block's torrent file: the info dictionary and the piece
// layers, nothing else. b must have passed Check; the proof vector has no
// place in it.
func (b Bundle) Torrent() []byte {
	out := []byte("d4:info")
	out = append(out, b.Info.Encode()...)
	out = append(out, "12:piece layersd"...)
	for _, f := range b.torrentLayers() {
		out = appendString(out, f.root[:])
		out = appendString(out, appendRoots(nil, f.layer))
	}
	return append(out, "ee"...)
}

type torrentLayer struct {
	root  Root
	layer []Root
}

// torrentLayers returns the layers that a torrent file carries, in its order:
// none for files of one piece, and one for two files with the same root.
func (b Bundle) torrentLayers() []torrentLayer {
	content := torrentLayer{b.Info.Content, b.Layers.Content}
	parity := torrentLayer{b.Info.Parity, b.Layers.Parity}
	if b.Info.Geometry().FilePieces() == 1 {
		return nil
	}
	switch bytes.Compare(content.root[:], parity.root[:]) {
	case -1:
		return []torrentLayer{content, parity}
	case 0:
		return []torrentLayer{content}
	}
	return []torrentLayer{parity, content}
}

// ParseTorrent reads the torrent file of a block, ours or one that another
// program wrote: canonical bencoding with the info dictionary and the piece
// layers of both files. Other keys (announce, url-list, …) are dropped and
// never followed. The bundle has no Proof and has passed Check; the error is
// ErrTorrent. It keeps no reference to data.
func ParseTorrent(data []byte) (Bundle, error) {
	if len(data) > maxTorrent {
		return Bundle{}, fmt.Errorf("%w: %d bytes", ErrTorrent, len(data))
	}
	var info []byte
	layers := make(map[string][]byte)
	d := decoder{b: data}
	d.dict(func(key string) {
		switch key {
		case "info":
			info = d.raw()
		case "piece layers":
			d.dict(func(root string) {
				layers[root] = d.string()
				if len(layers) > 2 {
					d.fail("more than two piece layers")
				}
			})
		default:
			d.raw()
		}
	})
	if d.err == nil && len(d.b) > 0 {
		d.fail("%d bytes after the end", len(d.b))
	}
	if d.err != nil {
		return Bundle{}, fmt.Errorf("%w: %w", ErrTorrent, d.err)
	}
	i, err := ParseInfo(info)
	if err != nil {
		return Bundle{}, fmt.Errorf("%w: %w", ErrTorrent, err)
	}
	b := Bundle{Info: i, Layers: Layers{Content: []Root{i.Content}, Parity: []Root{i.Parity}}}
	if i.Geometry().FilePieces() > 1 {
		b.Layers = Layers{
			Content: parseRoots(layers[string(i.Content[:])]),
			Parity:  parseRoots(layers[string(i.Parity[:])]),
		}
	}
	// The form is strict: what is not a whole layer of this block is refused.
	for _, f := range b.torrentLayers() {
		if len(layers[string(f.root[:])])%len(f.root) != 0 {
			return Bundle{}, fmt.Errorf("%w: piece layer of %d bytes", ErrTorrent, len(layers[string(f.root[:])]))
		}
		delete(layers, string(f.root[:]))
	}
	if len(layers) != 0 {
		return Bundle{}, fmt.Errorf("%w: piece layer of no file", ErrTorrent)
	}
	if err := b.Check(); err != nil {
		return Bundle{}, fmt.Errorf("%w: %w", ErrTorrent, err)
	}
	return b, nil
}
