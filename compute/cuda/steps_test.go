package cuda

import (
	"bytes"
	"os"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
)

// steppingDevice is a card that goes through steps: that of the machine, or an emulated one of few multiprocessors.
func steppingDevice(t *testing.T, env string) *Device {
	t.Helper()
	if os.Getenv("LENTIL_TEST_CUDA") == "" {
		return emulated(t, "capability=90,"+env)
	}
	d := card(t, "")
	if !d.stepping() {
		t.Skip("a Hopper card with cooperative launches is missing: the emulated one is, without LENTIL_TEST_CUDA")
	}
	return d
}

// collected are the launches of a pass that is not run, with results and work memory of their own.
func (l *layer) collected(hidden, between int) (all []compute.Buffer, list []record) {
	d, c := l.d, &collector{}
	d.flush()
	d.collecting = c
	all = l.pass(hidden, between)
	d.emit()
	d.freeAreas()
	d.collecting, d.waited = nil, false
	return all, c.records
}

// TestSteps: launches that become the steps of one give, to the bit, what they give alone, again and again.
func TestSteps(t *testing.T) {
	for _, c := range []struct {
		hidden, between int
		env             string
	}{{64, 4672, "cores=3"}, {320, 640, "cores=2"}, {1088, 4096, "cores=3"}} {
		d := steppingDevice(t, c.env)
		l := &layer{t: t, d: d, cache: compute.BF16}
		var want [][]float32
		for _, b := range l.pass(c.hidden, c.between) {
			want = append(want, floats(t, d, b))
		}
		all, records := l.collected(c.hidden, c.between)
		d.enter()
		list, held := d.inSteps(records)
		d.freeSteps(held)
		graph, err := d.capture(records)
		d.leave()
		if err != nil {
			t.Fatal(err)
		}
		if len(held) != 1 || len(records)-len(list) < 6 {
			t.Errorf("hidden size %d: %d launches become %d, with %d of steps", c.hidden, len(records), len(list), len(held))
		}
		for range 3 {
			for _, b := range all {
				if slices.Contains(l.inputs, b) {
					continue
				}
				if err := d.Write(b, bytes.Repeat([]byte{0xFF}, int(b.Spec().Bytes()))); err != nil {
					t.Fatal(err)
				}
			}
			d.enter()
			d.flush()
			d.replay(graph)
			d.leave()
			for i, b := range all {
				if got := floats(t, d, b); !slices.Equal(got, want[i]) {
					t.Errorf("hidden size %d, result %d of %d: %.4v, alone %.4v", c.hidden, i, len(all), got[:8], want[i][:8])
				}
			}
		}
		d.enter()
		d.discard(graph)
		d.leave()
	}
}

// TestStepsRefused: where the driver takes no launch of steps, graphs are of the launches themselves.
func TestStepsRefused(t *testing.T) {
	d := emulated(t, "capability=90,cores=2")
	l := &layer{t: t, d: d, cache: compute.BF16}
	l.pass(64, 640) // makes the inputs
	_, records := l.collected(64, 640)
	d.enter()
	defer d.leave()
	d.card.Multiprocessors = 1000 // more blocks than the card holds
	graph, err := d.capture(records)
	if err != nil || d.err != nil || !d.noSteps || len(d.steps) != 0 {
		t.Fatalf("%v, %v, steps refused: %v, %d held", err, d.err, d.noSteps, len(d.steps))
	}
	d.discard(graph)
}
