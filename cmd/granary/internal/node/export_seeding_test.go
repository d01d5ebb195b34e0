package node

import "time"

// WhyIdle is why a seeder whose home is dir would not work for others.
func WhyIdle(dir string) (string, error) {
	v, err := openVolume(dir+"/"+trafficFile, 0, time.Now)
	if err != nil {
		return "", err
	}
	return (&Node{cfg: Config{Dir: dir}, volume: v}).whyIdle()
}

// Shares are what an upload limit leaves those who sample, and torrents.
func Shares(upload int64) (samples, torrents int64) { return sampleShare(upload), torrentShare(upload) }
