package node

import (
	"time"

	"granary/cmd/granary/internal/traffic"
)

// WhyIdle is why a seeder whose home is dir would not work for others.
func WhyIdle(dir string) (string, error) {
	v, err := traffic.Open(dir+"/"+trafficFile, 0, time.Now)
	if err != nil {
		return "", err
	}
	return (&Node{cfg: Config{Dir: dir}, traffic: v}).whyIdle()
}

// Shares are what an upload limit leaves those who sample, and torrents.
func Shares(upload int64) (samples, torrents int64) { return sampleShare(upload), torrentShare(upload) }
