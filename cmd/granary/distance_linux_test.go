package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// distances puts 8 to 100 ms between any two homes, each way. The router sends all
// packets through an interface that this process reads and writes: queues that delay
// are not in every kernel.
func (l *lab) distances() {
	l.t.Helper()
	far, err := l.router.tun("far")
	if err != nil {
		l.t.Skipf("no distances here: %v", err)
	}
	var work sync.WaitGroup
	work.Go(func() { delay(far) })
	l.t.Cleanup(func() {
		_ = far.Close() // which ends delay
		work.Wait()
	})
	l.router.shell(`
		for filter in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $filter; done
		ip link set far up
		ip route add default dev far table 100
		ip rule add not iif far lookup 100 pref 100`)
}

// tun makes an interface of the place whose packets the file has.
func (p *place) tun(name string) (*os.File, error) {
	type opened struct {
		file *os.File
		err  error
	}
	done := make(chan opened)
	go func() {
		runtime.LockOSThread() // and ends with its thread, which is in the place for good
		f, err := func() (*os.File, error) {
			net, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", p.pid))
			if err != nil {
				return nil, err
			}
			if err := errors.Join(unix.Setns(int(net.Fd()), unix.CLONE_NEWNET), net.Close()); err != nil {
				return nil, err
			}
			request, err := unix.NewIfreq(name)
			if err != nil {
				return nil, err
			}
			request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
			if err != nil {
				return nil, err
			}
			if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
				return nil, errors.Join(err, unix.Close(fd))
			}
			return os.NewFile(uintptr(fd), name), nil
		}()
		done <- opened{f, err}
	}()
	o := <-done
	return o.file, o.err
}

// delay writes each packet that it reads back when it has come its way, those of one
// road in their order, until far is closed.
func delay(far *os.File) {
	type packet struct {
		at   time.Time
		data []byte
	}
	var work sync.WaitGroup
	roads := map[[2]byte]chan packet{}
	for {
		data := make([]byte, 2048)
		n, err := far.Read(data)
		if err != nil {
			break
		}
		if n < 20 || data[0]>>4 != 4 {
			continue
		}
		from, to := data[13], data[17] // of 45.n.0.2
		road := roads[[2]byte{from, to}]
		if road == nil {
			road = make(chan packet, 1024) // twice what a line holds
			roads[[2]byte{from, to}] = road
			work.Go(func() {
				for p := range road {
					time.Sleep(time.Until(p.at)) // the distance
					_, _ = far.Write(p.data)     // or it is lost
				}
			})
		}
		select {
		case road <- packet{time.Now().Add(toBackbone(from) + toBackbone(to)), data[:n]}:
		default: // lost, too
		}
	}
	for _, road := range roads {
		close(road)
	}
	work.Wait()
}

// toBackbone is how far home number n is from everything: 4 to 50 ms.
func toBackbone(n byte) time.Duration {
	return time.Duration(4+int(n)*17%47) * time.Millisecond
}
