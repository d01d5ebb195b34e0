package swarm_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"granary/erasure"
	"granary/swarm"
)

// python is the Debian interpreter, which python3-libtorrent installs for.
const python = "/usr/bin/python3"

func needLibtorrent(t *testing.T) {
	t.Helper()
	out, err := exec.CommandContext(testContext(t), python, "-c", "import libtorrent; print(libtorrent.version)").CombinedOutput()
	if err != nil {
		t.Skipf("needs %s with libtorrent (Debian: python3-libtorrent): %v: %s", python, err, out)
	}
	t.Logf("libtorrent %s", bytes.TrimSpace(out))
}

// libtorrent runs the client and returns the first line it prints. It is ended
// with the test.
func libtorrent(t *testing.T, args ...string) string {
	t.Helper()
	// Not killed with the test's context, which ends before its cleanup: the
	// end of its input ends it, and it gives up by itself.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), python, append([]string{"testdata/stock_client.py"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		if err := cmd.Wait(); err != nil && !t.Failed() {
			t.Errorf("libtorrent: %v: %s", err, stderr.Bytes())
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		_ = stdin.Close()
		_ = cmd.Wait()
		t.Fatalf("libtorrent %v: %v: %s", args, err, stderr.Bytes())
	}
	return strings.TrimSpace(line)
}

func newIP() netip.Addr {
	n := nextIP.Add(1)
	return netip.AddrFrom4([4]byte{127, 44, byte(n >> 8), byte(n)})
}

func torrentFile(t *testing.T, p published) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "block.torrent")
	if err := os.WriteFile(path, p.bundle.Torrent(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// interopRows are the sizes tried. 777 rows make pieces of two rows, the last
// of each file of one.
func interopRows() []int {
	if measured() {
		return []int{1, 2, 33, 512, 777, 4096, 16384}
	}
	return []int{1, 33, 512, 777}
}

func TestLibtorrentFetchesFromGranary(t *testing.T) {
	needLibtorrent(t)
	for _, k := range interopRows() {
		p := random(t, k)
		seeder := open(t)
		add(t, seeder, whole(t, p))
		for _, source := range []string{p.id().Magnet(), torrentFile(t, p)} {
			t.Run(fmt.Sprintf("%d rows by %.7s", k, filepath.Base(source)), func(t *testing.T) {
				dir := t.TempDir()
				if got := libtorrent(t, "fetch", newIP().String(), dir, source, seeder.Addr().String()); got != "done" {
					t.Fatalf("libtorrent says %q", got)
				}
				checkFiles(t, dir, p)
			})
		}
	}
}

func checkFiles(t *testing.T, dir string, p published) {
	t.Helper()
	name := p.bundle.Info.Name
	for file, want := range map[string][]byte{name: p.content, name + ".parity": p.parity} {
		got, err := os.ReadFile(filepath.Join(dir, name, file))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs", file)
		}
	}
}

// libtorrentSeeder seeds p: both files, or with verb "seed-content" the content
// alone, as somebody does who deselects parity.
func libtorrentSeeder(t *testing.T, verb string, p published, torrent string, options ...string) netip.AddrPort {
	t.Helper()
	ip, dir := newIP(), t.TempDir()
	name := p.bundle.Info.Name
	if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{name: p.content}
	if verb == "seed" {
		files[name+".parity"] = p.parity
	}
	for file, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name, file), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var port uint16
	if _, err := fmt.Sscanf(libtorrent(t, append([]string{verb, ip.String(), dir, torrent}, options...)...), "port %d", &port); err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(ip, port)
}

func TestLibtorrentFetchesFromTwoPartialSeeders(t *testing.T) {
	needLibtorrent(t)
	for _, k := range []int{33, 777} {
		p := random(t, k)
		g := p.geometry()
		args := []string{"fetch", newIP().String(), t.TempDir(), torrentFile(t, p)}
		for half := range 2 {
			s := open(t)
			add(t, s, holding(t, p, pieces(g, func(i int) bool { return i%2 == half })))
			args = append(args, s.Addr().String())
		}
		if got := libtorrent(t, args...); got != "done" {
			t.Fatalf("k = %d: libtorrent says %q", k, got)
		}
		checkFiles(t, args[2], p)
	}
}

func TestGranaryFetchesFromLibtorrentAndGranaryTogether(t *testing.T) {
	needLibtorrent(t)
	p := random(t, 777)
	path := torrentFile(t, p)
	limited := open(t, func(c *swarm.Config) { c.UploadRate = 4 << 20 }) // else one of them does it alone
	add(t, limited, holding(t, p, pieces(p.geometry(), func(i int) bool { return i >= p.geometry().FilePieces() })))
	b := newBlock(t, p.bundle)
	torrent := add(t, open(t), b)
	torrent.AddPeers(libtorrentSeeder(t, "seed-content", p, path), limited.Addr())
	if err := torrent.FetchAny(testContext(t), nil); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.recovered(t), p.content) {
		t.Error("content differs")
	}
}

func TestLibtorrentFetchesFromLibtorrentAndGranaryTogether(t *testing.T) {
	needLibtorrent(t)
	p := random(t, 777)
	path, g := torrentFile(t, p), p.geometry()
	s := open(t) // has what the other lacks
	add(t, s, holding(t, p, pieces(g, func(i int) bool { return i >= g.FilePieces() })))
	dir := t.TempDir()
	if got := libtorrent(t, "fetch", newIP().String(), dir, path, libtorrentSeeder(t, "seed-content", p, path).String(), s.Addr().String()); got != "done" {
		t.Fatalf("libtorrent says %q", got)
	}
	checkFiles(t, dir, p)
}

func TestGranaryFetchesFromALibtorrentThatHasTheContentAlone(t *testing.T) {
	needLibtorrent(t)
	for _, k := range []int{1, 33, 777} {
		p := random(t, k)
		addr := libtorrentSeeder(t, "seed-content", p, torrentFile(t, p))
		b := newBlock(t, p.bundle)
		torrent := add(t, open(t), b)
		torrent.AddPeers(addr)
		if err := torrent.FetchAny(testContext(t), nil); err != nil {
			t.Fatalf("k = %d: %v", k, err)
		}
		if !bytes.Equal(b.recovered(t), p.content) {
			t.Errorf("k = %d: content differs", k)
		}
	}
}

func TestGranaryFetchesFromLibtorrent(t *testing.T) {
	needLibtorrent(t)
	for _, k := range interopRows() {
		t.Run(fmt.Sprintf("%d rows", k), func(t *testing.T) {
			p := random(t, k)
			path := torrentFile(t, p)
			addr := libtorrentSeeder(t, "seed", p, path)

			described, err := open(t).Describe(testContext(t), p.id(), []netip.AddrPort{addr})
			if err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := erasure.ParseTorrent(data)
			if err != nil {
				t.Fatal(err)
			}
			for how, bundle := range map[string]erasure.Bundle{"described": described, "parsed": parsed} {
				if got := bundle.Info.ID(); got != p.id() {
					t.Fatalf("%s: ID %s, want %s", how, got, p.id())
				}
				b := newBlock(t, bundle)
				torrent := add(t, open(t), b)
				torrent.AddPeers(addr)
				if err := torrent.FetchAny(testContext(t), nil); err != nil {
					t.Fatalf("%s: %v", how, err)
				}
				if !bytes.Equal(b.recovered(t), p.content) {
					t.Errorf("%s: content differs", how)
				}
			}
		})
	}
}
