//go:build linux && (amd64 || arm64) && !static

package cuda

import (
	"testing"
	"time"

	"github.com/lentil-lm/lentil/compute"
)

// TestIdle: time counts as idle while the card has nothing to compute, to the end of its work and not to when the host looks.
func TestIdle(t *testing.T) {
	const pause = 60 * time.Millisecond
	for _, c := range []struct {
		env   string
		elems int                          // of what is written, worked on and read
		busy  time.Duration                // of each launch
		least time.Duration                // that is idle
		do    func(*Device, *buffer) error // before each launch
	}{
		{"", 64, 0, pause, nil},
		{"work=20", 64, 20 * time.Millisecond, pause - 20*time.Millisecond, nil},
		{"work=400", 64, 400 * time.Millisecond, 0, nil},
		{"work=400 out=1", 64, 400 * time.Millisecond, 0, func(d *Device, b *buffer) error { return d.Read(b, make([]byte, b.Spec().Bytes())) }},
		{"out=80", 4096, 0, 2 * 80 * time.Millisecond, func(d *Device, b *buffer) error { return d.Read(b, make([]byte, b.Spec().Bytes())) }},
		{"in=80", 64, 0, 2 * 80 * time.Millisecond, func(d *Device, b *buffer) error { return d.Write(b, make([]byte, b.Spec().Bytes())) }},
	} {
		d, err := fake(t, c.env)
		if err != nil {
			t.Fatal(err)
		}
		b, err := d.Alloc(compute.Shape{c.elems}, compute.F32)
		if err != nil {
			t.Fatal(err)
		}
		own := b.(*buffer)
		time.Sleep(pause)
		begin := time.Now()
		if got := d.WatchIdle(true); got != 0 {
			t.Errorf("%q: idle for %v before it was watched", c.env, got)
		}
		for i := range 2 {
			if i > 0 {
				time.Sleep(pause)
			}
			if c.do != nil {
				err = c.do(d, own)
			}
			if err == nil {
				err = d.Run(compute.Scale{Alpha: 1}, []compute.Buffer{b}, []compute.Buffer{b})
			}
			if err != nil {
				t.Fatal(err)
			}
			d.enter()
			d.flush()
			d.leave()
		}
		if err := d.Sync(); err != nil {
			t.Fatal(err)
		}
		got, of := d.WatchIdle(false), time.Since(begin)
		if most := of - 2*c.busy; got < c.least || got > most {
			t.Errorf("%q: idle for %v of %v, want %v to %v", c.env, got, of, c.least, most)
		}
		time.Sleep(pause)
		if got := d.WatchIdle(false); got != 0 {
			t.Errorf("%q: idle for %v when it was not watched", c.env, got)
		}
		b.Free()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}
