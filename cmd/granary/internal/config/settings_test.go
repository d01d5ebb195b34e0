package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"granary/cmd/granary/internal/config"
)

// resolve gives the settings of a home with this config.toml and these flags.
func resolve(t *testing.T, file string, args ...string) (*config.Settings, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, config.SettingsFile), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	s := config.NewSettings()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	s.AddTo(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return s, s.Resolve(dir)
}

func TestFlagsComeBeforeEnvironmentBeforeFile(t *testing.T) {
	const file = "port = 1\ntorrent_port = 1\nupload_rate = \"1kB\"\nconsensus_peers = \"a@192.0.2.1:1,b@192.0.2.2:1\"\n"
	t.Setenv("GRANARY_PORT", "2")
	t.Setenv("GRANARY_TORRENT_PORT", "2")
	s, err := resolve(t, file, "--port", "3")
	if err != nil {
		t.Fatal(err)
	}
	if s.Port != 3 || s.TorrentPort != 2 || s.UploadRate != 1000 || len(s.Validators) != 2 || s.Consensus != 4749 {
		t.Errorf("settings are %+v, want port 3, torrent port 2, upload rate 1000, two validators, consensus port 4749", s)
	}
	if !s.Chosen("port") || !s.Chosen("upload-rate") || s.Chosen("consensus-port") {
		t.Error("port and upload-rate were chosen, consensus-port was not; Chosen says otherwise")
	}
}

func TestSwitchesAreWordsOrText(t *testing.T) {
	for _, file := range []string{"relay = true\nkeep_parity = false", "relay = \"true\"\nkeep_parity = \"false\""} {
		if s, err := resolve(t, file); err != nil || !s.Relay || s.KeepParity {
			t.Errorf("%q: %+v, %v", file, s, err)
		}
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	tests := []struct{ name, file, word string }{
		{"no TOML", "# a\nport", "config.toml line 2"},
		{"list", `trackers = ["a"]`, "trackers"},
		{"unknown key", "prot = 1", `"prot"`},
		{"flag's spelling", "torrent-port = 1", `"torrent-port"`},
		{"table", "[port]\nport = 1", "port"},
		{"fraction", "port = 1.5", "port"},
		{"port too large", "port = 65536", "port"},
		{"size", `quota = "much"`, "much"},
		{"size of no byte", `upload_rate = "0.5"`, "0.5"},
		{"role", `role = "king"`, "king"},
		{"no connections", "connections = 0", "connections"},
		{"hours", `hours = "25:00-26:00"`, "25:00"},
		{"hours of a validator", "role = \"validator\"\nhours = \"22:00-07:00\"", "hours"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := resolve(t, tt.file)
			if !errors.Is(err, config.ErrSettings) || !strings.Contains(err.Error(), tt.word) {
				t.Errorf("Resolve = %v, want ErrSettings that names %s", err, tt.word)
			}
		})
	}
}

func TestFileRoundTrips(t *testing.T) {
	defaults := config.NewSettings()
	chosen := config.NewSettings()
	for _, set := range [][2]string{{"role", "light"}, {"listen", "192.0.2.1"}, {"quota", "200GiB"}, {"consensus-peers", "a@192.0.2.1:1,b@192.0.2.2:1"}, {"hours", "22:00-07:00"}} {
		if err := chosen.Set(set[0], set[1]); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]*config.Settings{"defaults": defaults, "chosen": chosen} {
		got, err := resolve(t, string(want.File()))
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, want.File())
		}
		if string(got.File()) != string(want.File()) {
			t.Errorf("%s: read back as\n%s, want\n%s", name, got.File(), want.File())
		}
	}
	// What stands in comments is the default: with the signs gone it says the same.
	bare := strings.ReplaceAll(string(defaults.File()), "\n# ", "\n")
	if s, err := resolve(t, bare[strings.Index(bare, "role"):]); err != nil || s.Port != 4747 || s.Role != "seeder" || s.Quota != 0 {
		t.Errorf("the defaults without comment signs: %+v, %v", s, err)
	}
}
