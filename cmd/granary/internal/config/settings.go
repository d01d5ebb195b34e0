package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/pflag"

	"granary/cmd/granary/internal/durable"
)

// ErrSettings reports a setting that is unknown or has no usable value.
var ErrSettings = errors.New("setting refused")

// SettingsFile is the name of the settings in a home.
const SettingsFile = "config.toml"

// Settings is what the owner of a home may choose: by flags, else by the
// environment, else in config.toml. A flag --upload-rate is GRANARY_UPLOAD_RATE
// and upload_rate there.
type Settings struct {
	Role         string         // "seeder", "light" or "validator"
	Listen       netip.Addr     // zero: every address of the machine
	Port         int            // libp2p, TCP and QUIC; 0: any free port
	TorrentPort  int            // BitTorrent; 0: any free port
	Consensus    int            // a validator's port for the others; 0: any free port
	Signer       string         // where a validator listens for the process that has its consensus key
	Validators   []string       // a validator's peers on the consensus port: id@ip:port
	Quota        Size           // bytes on disk for the home; 0: no limit
	UploadRate   Size           // bytes per second; 0: no limit
	DownloadRate Size           // bytes per second; 0: no limit
	ScrubEvery   Interval       // how often each stored block is checked; 0: only when asked
	Volume       Size           // bytes of torrents per calendar month, both directions; 0: no limit
	Hours        Hours          // when to work for others; zero: always
	Connections  int            // of all torrents together
	Dials        int            // connections being opened at once
	Relay        bool           // introduce nodes that cannot be dialled to others
	HTTP         netip.AddrPort // where /metrics, /healthz and /readyz are; zero: nowhere

	KeepParity bool // of blocks that are kept whole and not owed

	// Where torrents look for peers beside the network's own nodes.
	Trackers []string // announce URLs
	Mainline []string // host:port of nodes of BitTorrent's DHT, or "public"
	Local    bool     // multicast on the networks that the machine is on
	WebSeeds []string // URLs of folders on web servers that have content

	flags *pflag.FlagSet // one per setting
}

// maxSettings bounds a settings file.
const maxSettings = 1 << 20

// NewSettings returns the defaults.
func NewSettings() *Settings {
	s := &Settings{ScrubEvery: Interval(30 * day)}
	f := pflag.NewFlagSet("settings", pflag.ContinueOnError)
	f.SortFlags = false
	f.StringVar(&s.Role, "role", "seeder", "seeder (keeps its custody and serves), light (keeps only what it is asked for) or validator")
	f.TextVar(&s.Listen, "listen", netip.Addr{}, "IP address to listen on and dial from (default: all)")
	f.IntVar(&s.Port, "port", 4747, "libp2p port, TCP and QUIC; 0 for any free one")
	f.IntVar(&s.TorrentPort, "torrent-port", 4748, "BitTorrent port; 0 for any free one")
	f.IntVar(&s.Consensus, "consensus-port", 4749, "a validator's port for the others; 0 for any free one")
	f.StringSliceVar(&s.Validators, "consensus-peers", nil, "a validator's peers there: id@ip:port, separated by commas")
	f.StringVar(&s.Signer, "consensus-signer", "", "where a validator whose consensus key another process has listens for it: unix:///PATH, noise://PEER@IP:PORT or tcp://IP:PORT")
	f.Var(&s.Quota, "quota", "disk space this home may use, e.g. 200GB; 0 for no limit")
	f.Var(&s.UploadRate, "upload-rate", "upload per second, e.g. 2MB; 0 for no limit")
	f.Var(&s.DownloadRate, "download-rate", "download per second, e.g. 10MB; 0 for no limit")
	f.Var(&s.Volume, "monthly-volume", "torrent traffic per calendar month, both ways together, e.g. 500GB; 0 for no limit")
	f.Var(&s.Hours, "hours", "time of day to work for others, e.g. 22:00-07:00 (default: always)")
	f.IntVar(&s.Connections, "connections", 200, "torrent connections, all together")
	f.IntVar(&s.Dials, "half-open", 40, "torrent connections being opened at once")
	f.TextVar(&s.HTTP, "http", netip.AddrPort{}, "IP:PORT of /metrics, /healthz and /readyz, e.g. 127.0.0.1:4780 (default: none)")
	f.BoolVar(&s.Relay, "relay", false, "introduce nodes behind routers to others, a few at a time; for a node that can be dialled")
	f.BoolVar(&s.KeepParity, "keep-parity", true, "keep the parity of your own blocks on the disk; false halves what they take, and computes it when somebody asks")
	f.StringSliceVar(&s.Trackers, "trackers", nil, "also find peers by these BitTorrent trackers, http, https or udp, separated by commas; they learn what you fetch and serve")
	f.StringSliceVar(&s.Mainline, "mainline-dht", nil, "also find peers in BitTorrent's public DHT, through \"public\" nodes or host:port,…; everybody can learn what you fetch and serve")
	f.BoolVar(&s.Local, "local-discovery", false, "also find peers on your own network by multicast; everybody there learns what you fetch and serve")
	f.StringSliceVar(&s.WebSeeds, "web-seeds", nil, "fetch what no peer has from these folders on web servers, https://host/folder/, separated by commas; they learn what you fetch")
	f.Var(&s.ScrubEvery, "scrub-every", "how often each stored block is checked on the disk, e.g. 30d; 0 for never")
	s.flags = f
	return s
}

// AddTo adds one flag per setting to flags.
func (s *Settings) AddTo(flags *pflag.FlagSet) { flags.AddFlagSet(s.flags) }

// AddHidden is AddTo for a command that runs a node only in passing: its help
// leaves them out.
func (s *Settings) AddHidden(flags *pflag.FlagSet) {
	s.flags.VisitAll(func(f *pflag.Flag) { f.Hidden = true })
	s.AddTo(flags)
}

// Set gives one setting a value, as its flag would.
func (s *Settings) Set(name, value string) error {
	if err := s.flags.Set(name, value); err != nil {
		return fmt.Errorf("%w: %w", ErrSettings, err)
	}
	return nil
}

// Chosen reports whether the setting was set at all.
func (s *Settings) Chosen(name string) bool { return s.flags.Changed(name) }

// Resolve gives every setting that is not set yet its value from the
// environment or from dir/config.toml, and checks the whole.
func (s *Settings) Resolve(dir string) error {
	stored, err := s.readFile(filepath.Join(dir, SettingsFile))
	if err != nil {
		return err
	}
	var errs []error
	s.flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed {
			return
		}
		from := "GRANARY_" + strings.ToUpper(key(f))
		value := os.Getenv(from)
		if value == "" {
			from, value = SettingsFile, stored[key(f)]
		}
		if value == "" {
			return
		}
		if err := s.flags.Set(f.Name, value); err != nil {
			errs = append(errs, fmt.Errorf("%w: %s from %s: %w", ErrSettings, f.Name, from, err))
		}
	})
	if err := errors.Join(errs...); err != nil {
		return err
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
	if s.Role == "validator" && !s.KeepParity {
		return fmt.Errorf("%w: keep-parity false, of a validator: its share is half parity", ErrSettings)
	}
	for key, rate := range map[string]Size{"upload-rate": s.UploadRate, "download-rate": s.DownloadRate} {
		if rate > 0 && rate < 1000 {
			return fmt.Errorf("%w: %s of %d bytes per second: a single row would take minutes; say 300kB, or 0 for no limit", ErrSettings, key, rate)
		}
	}
	if s.Role == "validator" && s.Hours.String() != "" {
		return fmt.Errorf("%w: hours, of a validator: it owes the network its work at all times", ErrSettings)
	}
	return nil
}

// readFile returns the values in a settings file by their keys; none if there
// is no file.
func (s *Settings) readFile(path string) (map[string]string, error) {
	raw, err := durable.Read(path, maxSettings)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	var file map[string]any
	if err := toml.Unmarshal(raw, &file); err != nil {
		if where, ok := errors.AsType[*toml.DecodeError](err); ok {
			line, _ := where.Position()
			path = fmt.Sprintf("%s line %d", path, line)
		}
		return nil, fmt.Errorf("%w: %s: %w", ErrSettings, path, err)
	}
	known := map[string]bool{}
	s.flags.VisitAll(func(f *pflag.Flag) { known[key(f)] = true })
	values := map[string]string{}
	for k, v := range file {
		if !known[k] {
			return nil, fmt.Errorf("%w: unknown key %q in %s", ErrSettings, k, path)
		}
		switch v.(type) {
		case string, int64, bool:
			values[k] = fmt.Sprint(v)
		default:
			return nil, fmt.Errorf("%w: %s in %s is neither text nor a whole number nor true or false", ErrSettings, k, path)
		}
	}
	return values, nil
}

// File is the settings as config.toml: what is set, and every other key
// commented out with its default.
func (s *Settings) File() []byte {
	var b strings.Builder
	b.WriteString("# Settings of this home. Flags and GRANARY_* variables come first.\n\n")
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	s.flags.VisitAll(func(f *pflag.Flag) {
		value, comment := f.DefValue, "# "
		if f.Changed {
			value, comment = f.Value.String(), ""
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			value = strings.Join(list.GetSlice(), ",")
		}
		if t := f.Value.Type(); t != "int" && t != "bool" {
			value = fmt.Sprintf("%q", value)
		}
		fmt.Fprintf(w, "%s%s = %s\t# %s\n", comment, key(f), value, f.Usage)
	})
	w.Flush() // a strings.Builder does not fail
	return []byte(b.String())
}

// key is the setting's name in config.toml.
func key(f *pflag.Flag) string { return strings.ReplaceAll(f.Name, "-", "_") }
