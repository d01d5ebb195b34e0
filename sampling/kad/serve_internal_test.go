package kad

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// What many addresses ask together stays within the line's share, but for what
// five seconds save up.
func TestALimitedLineIsNotExceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSecond, seconds = 10, 60
		a := newAdmission(perSecond * tokenBytes)
		admitted := 0
		for i := range seconds * 100 {
			ip := netip.AddrFrom4([4]byte{45, 0, 0, byte(i % 200)})
			if done, ok := a.enter(ip, 1); ok {
				admitted++
				done()
			}
			time.Sleep(10 * time.Millisecond)
		}
		if least, most := perSecond*seconds, perSecond*(seconds+lineBurst); admitted < least || admitted > most {
			t.Errorf("%d rows in %d s, want %d to %d", admitted, seconds, least, most)
		}
	})
}
