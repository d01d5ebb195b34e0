package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/pflag"
)

// ErrSettings reports a setting that is unknown or has no usable value.
var ErrSettings = errors.New("setting refused")

// Settings is what the owner of a home may choose.
type Settings struct {
	Role         string     // "seeder", "light" or "validator"
	Listen       netip.Addr // zero: every address of the machine
	Port         int        // libp2p, TCP and QUIC; 0: any free port
	TorrentPort  int        // BitTorrent; 0: any free port
	Consensus    int        // a validator's port for the others; 0: any free port
	Validators   []string   // a validator's peers on the consensus port: id@ip:port
	Quota        Size       // bytes on disk for the home; 0: no limit
	UploadRate   Size       // bytes per second; 0: no limit
	DownloadRate Size       // bytes per second; 0: no limit
	ScrubEvery   Interval   // how often each stored block is checked; 0: only when asked
	Volume       Size       // bytes of torrents per calendar month, both directions; 0: no limit
	Hours        Hours      // when to work for others; zero: always
	Connections  int        // of all torrents together
	Dials        int        // connections being opened at once
}

// keys are the settings by their flag names; config.toml has the same names
// with underscores, the environment GRANARY_ and capitals.
var keys = []string{"role", "listen", "port", "torrent-port", "consensus-port", "consensus-peers", "quota", "upload-rate", "download-rate", "scrub-every", "monthly-volume", "hours", "connections", "half-open"}

// file mirrors config.toml; an absent key stays nil.
type file struct {
	Role         *string `toml:"role"`
	Listen       *string `toml:"listen"`
	Port         *int    `toml:"port"`
	TorrentPort  *int    `toml:"torrent_port"`
	Consensus    *int    `toml:"consensus_port"`
	Validators   *string `toml:"consensus_peers"`
	Quota        *string `toml:"quota"`
	UploadRate   *string `toml:"upload_rate"`
	DownloadRate *string `toml:"download_rate"`
	ScrubEvery   *string `toml:"scrub_every"`
	Volume       *string `toml:"monthly_volume"`
	Hours        *string `toml:"hours"`
	Connections  *int    `toml:"connections"`
	Dials        *int    `toml:"half_open"`
}

// Flags adds one flag per setting to flags and returns where their values go.
func Flags(flags *pflag.FlagSet) *Settings {
	s := &Settings{Role: "seeder", ScrubEvery: Interval(30 * day)}
	flags.StringVar(&s.Role, "role", "seeder", "seeder (keeps its custody and serves), light (keeps only what it is asked for) or validator")
	flags.TextVar(&s.Listen, "listen", netip.Addr{}, "IP address to listen on and dial from (default: all)")
	flags.IntVar(&s.Port, "port", 4747, "libp2p port, TCP and QUIC; 0 for any free one")
	flags.IntVar(&s.TorrentPort, "torrent-port", 4748, "BitTorrent port; 0 for any free one")
	flags.IntVar(&s.Consensus, "consensus-port", 4749, "a validator's port for the others; 0 for any free one")
	flags.StringSliceVar(&s.Validators, "consensus-peers", nil, "a validator's peers there: id@ip:port, separated by commas")
	flags.Var(&s.Quota, "quota", "disk space this home may use, e.g. 200GB; 0 for no limit")
	flags.Var(&s.UploadRate, "upload-rate", "upload per second, e.g. 2MB; 0 for no limit")
	flags.Var(&s.DownloadRate, "download-rate", "download per second, e.g. 10MB; 0 for no limit")
	flags.Var(&s.ScrubEvery, "scrub-every", "how often each stored block is checked on the disk, e.g. 30d; 0 for never")
	flags.Var(&s.Volume, "monthly-volume", "torrent traffic per calendar month, both ways together, e.g. 500GB; 0 for no limit")
	flags.Var(&s.Hours, "hours", "time of day to work for others, e.g. 22:00-07:00 (default: always)")
	flags.IntVar(&s.Connections, "connections", 200, "torrent connections, all together")
	flags.IntVar(&s.Dials, "half-open", 40, "torrent connections being opened at once")
	return s
}

// Resolve gives every setting that no flag named its value from the
// environment or from dir/config.toml, and checks the whole.
func (s *Settings) Resolve(flags *pflag.FlagSet, dir string) error {
	stored, err := readFile(filepath.Join(dir, "config.toml"))
	if err != nil {
		return err
	}
	for _, key := range keys {
		if flags.Changed(key) {
			continue
		}
		env := "GRANARY_" + strings.ToUpper(strings.ReplaceAll(key, "-", "_"))
		value, from := os.Getenv(env), env
		if value == "" {
			value, from = stored[key], "config.toml"
		}
		if value == "" {
			continue
		}
		if err := flags.Set(key, value); err != nil {
			return fmt.Errorf("%w: %s from %s: %w", ErrSettings, key, from, err)
		}
	}
	return s.check()
}

func (s *Settings) check() error {
	if s.Role != "seeder" && s.Role != "light" && s.Role != "validator" {
		return fmt.Errorf("%w: role %q is not seeder, light or validator", ErrSettings, s.Role)
	}
	for key, port := range map[string]int{"port": s.Port, "torrent-port": s.TorrentPort, "consensus-port": s.Consensus} {
		if port < 0 || port > 65535 {
			return fmt.Errorf("%w: %s %d is not 0 to 65535", ErrSettings, key, port)
		}
	}
	for key, n := range map[string]int{"connections": s.Connections, "half-open": s.Dials} {
		if n < 1 || n > 65535 {
			return fmt.Errorf("%w: %s %d is not 1 to 65535", ErrSettings, key, n)
		}
	}
	if s.Role == "validator" && s.Hours.String() != "" {
		return fmt.Errorf("%w: hours, of a validator: it owes the network its work at all times", ErrSettings)
	}
	return nil
}

func readFile(path string) (map[string]string, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	var f file
	d := toml.NewDecoder(strings.NewReader(string(raw))).DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok {
			return nil, fmt.Errorf("%w: unknown key in %s:\n%s", ErrSettings, path, strict.String())
		}
		return nil, fmt.Errorf("%w: %s: %w", ErrSettings, path, err)
	}
	values := map[string]string{}
	for key, v := range map[string]*string{
		"role": f.Role, "listen": f.Listen, "consensus-peers": f.Validators, "quota": f.Quota,
		"upload-rate": f.UploadRate, "download-rate": f.DownloadRate, "scrub-every": f.ScrubEvery,
		"monthly-volume": f.Volume, "hours": f.Hours,
	} {
		if v != nil {
			values[key] = *v
		}
	}
	for key, v := range map[string]*int{
		"port": f.Port, "torrent-port": f.TorrentPort, "consensus-port": f.Consensus,
		"connections": f.Connections, "half-open": f.Dials,
	} {
		if v != nil {
			values[key] = fmt.Sprint(*v)
		}
	}
	return values, nil
}

// Template is the config.toml that `granary init` writes: every key with its
// default, commented out.
const Template = `# Settings of this home. Flags and GRANARY_* variables come first.

# role = "seeder"        # seeder, light or validator
# listen = ""            # IP address to listen on and dial from
# port = 4747            # libp2p, TCP and QUIC
# torrent_port = 4748    # BitTorrent
# consensus_port = 4749  # a validator's port for the others
# consensus_peers = ""   # a validator's peers there: "id@ip:port,…"
# quota = "0"            # disk space for this home, e.g. "200GB"; 0: no limit
# upload_rate = "0"      # per second, e.g. "2MB"; 0: no limit
# download_rate = "0"    # per second; 0: no limit
# scrub_every = "30d"    # how often each stored block is checked on the disk; "0": never
# monthly_volume = "0"   # torrents per calendar month, both ways, e.g. "500GB"; 0: no limit
# hours = ""             # time of day to work for others, e.g. "22:00-07:00"
# connections = 200      # of torrents, all together
# half_open = 40         # torrent connections being opened at once
`

// Size is a number of bytes that people write as 200GB or 64MiB.
type Size int64

// String returns the size as people read it.
func (s *Size) String() string { return humanize.IBytes(uint64(*s)) }

// Set reads a size.
func (s *Size) Set(text string) error {
	n, err := humanize.ParseBytes(text)
	if err != nil || n > 1<<62 {
		return fmt.Errorf("%q is not a size such as 200GB or 64MiB", text)
	}
	*s = Size(n)
	return nil
}

// Type names the value in help texts.
func (s *Size) Type() string { return "size" }
