package cuda

import (
	"time"

	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// A watch adds up how long, at most, the card had nothing to do. Before each launch it asks whether the stream is empty: the
// card may then have been idle since it was last known to have work.
type watch struct {
	on   bool
	idle time.Duration
	busy time.Time // when the card last had work for certain
}

// WatchIdle begins to add up the time in which the card has nothing to do, or ends that, and returns what was added up until
// now. Work that is done between two looks counts as idle; the microseconds that a launch takes to the card, and its end
// back to the host, do not.
func (d *Device) WatchIdle(on bool) time.Duration {
	defer d.enter()()
	if d.closed {
		return 0
	}
	d.look()
	sum := d.watch.idle
	d.watch = watch{on: on, busy: time.Now()}
	return sum
}

// look counts the time since the card last had work, if it has none, and reports whether it has some.
func (d *Device) look() (working bool) {
	if !d.watch.on || d.err != nil {
		return false
	}
	now := time.Now()
	working, err := d.drv.Working(d.stream)
	d.fail(err)
	if !working {
		d.watch.idle += now.Sub(d.watch.busy)
	}
	d.watch.busy = now
	return working
}

// worked notes that the card has work, or had some until now.
func (d *Device) worked() {
	if d.watch.on {
		d.watch.busy = time.Now()
	}
}

// wait waits for a stream that waits for the card's work, behind the copies that queue makes. Copies to memory that is not
// pinned wait themselves.
func (d *Device) wait(s driver.Stream, queue func() error) {
	working := d.look()
	if queue != nil {
		d.fail(queue())
	}
	d.fail(d.drv.Wait(s))
	if working {
		d.worked()
	}
}
