//go:build linux && (amd64 || arm64) && !static

package cuda

import (
	"testing"
	"time"

	"github.com/lentil-lm/lentil/compute"
)

// TestIdle: while the stream is empty time counts as idle, and while it has work it does not.
func TestIdle(t *testing.T) {
	const pause = 20 * time.Millisecond
	for query, idle := range map[string]bool{"query=0": true, "query=600": false} {
		d, err := fake(t, query)
		if err != nil {
			t.Fatal(err)
		}
		run := func() {
			t.Helper()
			b, err := d.Alloc(compute.Shape{64}, compute.F32)
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Run(compute.Scale{Alpha: 1}, []compute.Buffer{b}, []compute.Buffer{b}); err != nil {
				t.Fatal(err)
			}
			if err := d.Sync(); err != nil {
				t.Fatal(err)
			}
			b.Free()
		}
		run()
		time.Sleep(pause)
		if got := d.WatchIdle(true); got != 0 {
			t.Errorf("%s: idle for %v before it was watched", query, got)
		}
		run()
		time.Sleep(pause)
		run()
		if got := d.WatchIdle(false); (got >= pause) != idle {
			t.Errorf("%s: idle for %v in which it paused for %v", query, got, pause)
		}
		time.Sleep(pause)
		if got := d.WatchIdle(false); got != 0 {
			t.Errorf("%s: idle for %v when it was not watched", query, got)
		}
	}
}

// TestIdleReading: a copy to the host's memory waits for the card, which works meanwhile.
func TestIdleReading(t *testing.T) {
	const pause = 50 * time.Millisecond // of "copy"
	d, err := fake(t, "query=600 copy=50")
	if err != nil {
		t.Fatal(err)
	}
	b, err := d.Alloc(compute.Shape{64}, compute.F32)
	if err != nil {
		t.Fatal(err)
	}
	d.WatchIdle(true)
	for range 3 {
		if err := d.Run(compute.Scale{Alpha: 1}, []compute.Buffer{b}, []compute.Buffer{b}); err != nil {
			t.Fatal(err)
		}
		if err := d.Read(b, make([]byte, 256)); err != nil {
			t.Fatal(err)
		}
	}
	if got := d.WatchIdle(false); got >= pause {
		t.Errorf("idle for %v while it worked", got)
	}
}
