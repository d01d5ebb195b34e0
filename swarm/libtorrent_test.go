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

// 777 rows make pieces of two rows, the last of each file of one.
var interopRows = []int{1, 33, 512, 777}

func TestLibtorrentFetchesFromGranary(t *testing.T) {
	needLibtorrent(t)
	for _, k := range interopRows {
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

func TestGranaryFetchesFromLibtorrent(t *testing.T) {
	needLibtorrent(t)
	for _, k := range interopRows {
		t.Run(fmt.Sprintf("%d rows", k), func(t *testing.T) {
			p := random(t, k)
			ip, dir := newIP(), t.TempDir()
			name := p.bundle.Info.Name
			if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
				t.Fatal(err)
			}
			for file, data := range map[string][]byte{name: p.content, name + ".parity": p.parity} {
				if err := os.WriteFile(filepath.Join(dir, name, file), data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			path := torrentFile(t, p)
			var port uint16
			if _, err := fmt.Sscanf(libtorrent(t, "seed", ip.String(), dir, path), "port %d", &port); err != nil {
				t.Fatal(err)
			}
			addr := netip.AddrPortFrom(ip, port)

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
