// Package fallback lets a device grow op by op: what it does not support yet runs on the
// host, by the op's definition.
//
//	dev := fallback.New(mydevice)
//
// runs every model that the CPU runs. Each op on the host waits for the device, copies
// its inputs out and its outputs back, and computes in plain Go: right, and slow.
package fallback

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// Device is a compute.Device that supports every op.
type Device struct {
	compute.Device // supports some

	mu     sync.Mutex
	counts map[string]Count
}

// New makes a device that runs on the host what dev does not support.
func New(dev compute.Device) *Device { return &Device{Device: dev, counts: map[string]Count{}} }

// Count is how often an op ran.
type Count struct {
	Device int64 // on the device
	Host   int64 // by its definition
}

// Counts returns how often each op ran since the device was made, by its name.
func (d *Device) Counts() map[string]Count {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.counts)
}

// Ledger is the device's, or nil if it takes no more than its buffers hold.
func (d *Device) Ledger() compute.Ledger {
	if h, ok := d.Device.(compute.Hoarder); ok {
		return h.Ledger()
	}
	return nil
}

// weight is an imported weight. Its matrix, which its owner keeps until Free, is what
// definitions read.
type weight struct {
	compute.Buffer
	matrix *quant.Matrix
}

// ImportWeight keeps the matrix at hand.
func (d *Device) ImportWeight(m *quant.Matrix) (compute.Buffer, error) {
	b, err := d.Device.ImportWeight(m)
	if err != nil {
		return nil, err
	}
	return &weight{b, m}, nil
}

// Read copies the content out.
func (d *Device) Read(b compute.Buffer, dst []byte) error { return d.Device.Read(inner(b), dst) }

// Write copies the content in.
func (d *Device) Write(b compute.Buffer, src []byte) error { return d.Device.Write(inner(b), src) }

// inner is the device's buffer.
func inner(b compute.Buffer) compute.Buffer {
	if w, ok := b.(*weight); ok {
		return w.Buffer
	}
	return b
}

// inners are the device's buffers: the same list, unless there is a weight in it.
func inners(buffers []compute.Buffer) []compute.Buffer {
	list := buffers
	for i, b := range buffers {
		w, ok := b.(*weight)
		if !ok {
			continue
		}
		if &list[0] == &buffers[0] {
			list = slices.Clone(buffers)
		}
		list[i] = w.Buffer
	}
	return list
}

// Supports is true for every op.
func (d *Device) Supports(compute.Op, []compute.Spec) bool { return true }

// Run runs the op on the device, and if that has no way to, on the host. The device has
// checked the op by then.
func (d *Device) Run(op compute.Op, out, in []compute.Buffer) error {
	err := d.Device.Run(op, inners(out), inners(in))
	lacks := errors.Is(err, compute.ErrUnsupported)
	if lacks {
		if err = d.onHost(op, out, in); err != nil {
			err = fmt.Errorf("%s on the host: %w", op.Name(), err)
		}
	}
	if err == nil {
		d.count(op.Name(), !lacks)
	}
	return err
}

func (d *Device) count(name string, onDevice bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.counts[name]
	if onDevice {
		c.Device++
	} else {
		c.Host++
	}
	d.counts[name] = c
}

// onHost runs the op's definition on copies. Outputs are read, too: an op may add to
// them, or write a part.
func (d *Device) onHost(op compute.Op, out, in []compute.Buffer) error {
	for i, b := range out {
		if _, ok := b.(*weight); ok {
			return fmt.Errorf("output %d is a weight, which is read-only", i)
		}
	}
	ins, err := d.arrays(in)
	if err != nil {
		return err
	}
	for i, a := range ins {
		if a.Matrix != nil {
			if err := compute.CheckWeight(op, i, a.Matrix); err != nil {
				return err
			}
		}
	}
	outs, err := d.arrays(out)
	if err != nil {
		return err
	}
	if err := define(op, outs, ins); err != nil {
		return err
	}
	for i, a := range outs {
		if err := d.Write(out[i], a.Data); err != nil {
			return err
		}
	}
	return nil
}

// arrays are the contents of buffers.
func (d *Device) arrays(buffers []compute.Buffer) ([]compute.Array, error) {
	list := make([]compute.Array, len(buffers))
	for i, b := range buffers {
		list[i].Spec = b.Spec()
		if w, ok := b.(*weight); ok {
			list[i].Data, list[i].Matrix = w.matrix.Data, w.matrix
			continue
		}
		list[i].Data = make([]byte, list[i].Bytes())
		if err := d.Device.Read(b, list[i].Data); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// define runs the definition. Indices among the inputs are data, which the shape rule does
// not know: those that lead nowhere are an error, as on every device.
func define(op compute.Op, out, in []compute.Array) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the content of an input does not fit: %v", r)
		}
	}()
	op.Define(out, in)
	return nil
}
