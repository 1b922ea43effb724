// Package plan is a device that runs nothing: it adds up the memory that buffers
// would take and the work that ops would be. A model or a training step run on
// it answers "will it fit" and "how long" before anything is computed.
package plan

import (
	"fmt"
	"maps"
	"sync"
	"time"
	"unsafe"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// Options describe the device that is planned for; the zero value is one that
// runs every op.
type Options struct {
	// Info is what the device's Info returns.
	Info compute.Info
	// Supports is the planned device's: callers take the same path as on it.
	// Nil supports every op.
	Supports func(compute.Op, []compute.Spec) bool
	// Ledger is an account of the planned device's allocator. Nil takes no more than buffers hold.
	Ledger compute.Ledger
}

// For returns the options that plan for a device.
func For(dev compute.Device) Options {
	o := Options{Info: dev.Info(), Supports: dev.Supports}
	if h, ok := dev.(compute.Hoarder); ok {
		o.Ledger = h.Ledger()
	}
	return o
}

// Device is a compute.Device that only counts. Alloc never runs out of memory, so that
// a plan that does not fit has a peak, too. Read gives zeros. A Device is safe for
// concurrent use.
type Device struct {
	options Options

	mu      sync.Mutex
	current int64
	peak    int64             // since the last Reset
	most    int64             // ever
	weights map[*byte]*weight // imported memory by its address
	mapped  int64             // bytes of weights
	runs    map[run]int64     // how often
}

// run is one op at one size.
type run struct {
	name string
	cost compute.Cost
}

// weight is imported memory, which several buffers may share (tied embeddings).
type weight struct {
	bytes int64
	users int
}

// New makes a device without buffers.
func New(o Options) *Device {
	if o.Info.Name == "" {
		o.Info.Name = "plan"
	}
	return &Device{options: o, weights: map[*byte]*weight{}, runs: map[run]int64{}}
}

// OpReport is the work of all runs of one op.
type OpReport struct {
	Runs int64
	compute.Cost
}

// Report is what was counted since the device was made or reset. Memory is in
// bytes.
type Report struct {
	CurrentBytes int64 // buffers allocated now
	PeakBytes    int64 // the most at once
	HeldBytes    int64 // the most that the allocator held since the device was made, blocks for reuse included
	HeapBytes    int64 // of these on Go's heap, the most at once
	WeightBytes  int64 // imported: a mapped file on the CPU, a copy elsewhere
	FLOPs        int64 // a multiply-add counts as two
	Bytes        int64 // read and written at least once by each op
	ByOp         map[string]OpReport

	runs map[run]int64
}

// Report returns the figures so far.
func (d *Device) Report() Report {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := Report{
		CurrentBytes: d.current, PeakBytes: d.peak, HeldBytes: d.most, WeightBytes: d.mapped,
		ByOp: map[string]OpReport{}, runs: maps.Clone(d.runs),
	}
	if d.options.Ledger != nil {
		r.HeldBytes, r.HeapBytes = d.options.Ledger.Most()
	}
	for one, n := range d.runs {
		cost := compute.Cost{FLOPs: n * one.cost.FLOPs, Bytes: n * one.cost.Bytes}
		op := r.ByOp[one.name]
		r.ByOp[one.name] = OpReport{op.Runs + n, op.Cost.Add(cost)}
		r.FLOPs += cost.FLOPs
		r.Bytes += cost.Bytes
	}
	return r
}

// Reset starts a new measurement: no work, and a peak of what is allocated now. A
// caller resets before a step to learn the cost of that step.
func (d *Device) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.peak = d.current
	clear(d.runs)
}

// Time estimates how long the work takes on a device. Arithmetic or memory bounds each
// run of an op, whichever takes longer (the roofline model, Williams et al., 2009).
// efficiency is the share of both peaks that is reached: 1 is all of it. The time is 0,
// for unknown, when info knows neither peak or efficiency is not positive.
func (r Report) Time(info compute.Info, efficiency float64) time.Duration {
	if efficiency <= 0 {
		return 0
	}
	var seconds float64
	for one, n := range r.runs {
		var t float64
		if info.PeakFLOPS > 0 {
			t = float64(one.cost.FLOPs) / info.PeakFLOPS
		}
		if info.PeakBandwidth > 0 {
			t = max(t, float64(one.cost.Bytes)/info.PeakBandwidth)
		}
		seconds += float64(n) * t
	}
	return time.Duration(seconds / efficiency * float64(time.Second))
}

// buffer has a size and no content.
type buffer struct {
	spec   compute.Spec
	dev    *Device
	bytes  int64
	matrix *quant.Matrix // nil when allocated
	freed  bool
}

func (b *buffer) Spec() compute.Spec { return b.spec }

func (b *buffer) Free() {
	d := b.dev
	d.mu.Lock()
	defer d.mu.Unlock()
	if b.freed {
		return
	}
	b.freed = true
	if b.matrix == nil {
		d.current -= b.bytes
		if d.options.Ledger != nil {
			d.options.Ledger.Free(b.bytes)
		}
		return
	}
	at := unsafe.SliceData(b.matrix.Data)
	w := d.weights[at]
	if w.users--; w.users == 0 {
		d.mapped -= w.bytes
		delete(d.weights, at)
	}
}

// Info returns the options' Info.
func (d *Device) Info() compute.Info { return d.options.Info }

// Supports asks the options.
func (d *Device) Supports(op compute.Op, in []compute.Spec) bool {
	return d.options.Supports == nil || d.options.Supports(op, in)
}

// Alloc counts a buffer.
func (d *Device) Alloc(shape compute.Shape, t compute.DType) (compute.Buffer, error) {
	b := &buffer{spec: compute.Spec{Shape: shape, DType: t}, dev: d}
	if err := b.spec.Check(); err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if b.bytes = b.spec.Bytes(); d.options.Ledger != nil {
		b.bytes = d.options.Ledger.Take(b.bytes)
	}
	d.current += b.bytes
	d.peak, d.most = max(d.peak, d.current), max(d.most, d.current)
	return b, nil
}

// ImportWeight counts a weight, but memory that is imported again only once. It does not
// touch the bytes.
func (d *Device) ImportWeight(m *quant.Matrix) (compute.Buffer, error) {
	if err := m.Check(); err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	b := &buffer{spec: compute.WeightOf(m).Spec(), dev: d, matrix: m}
	b.bytes = b.spec.Bytes()
	if l, ok := d.options.Ledger.(compute.WorkLedger); ok {
		b.bytes = l.Weight(m)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	at := unsafe.SliceData(m.Data)
	w := d.weights[at]
	if w == nil {
		w = &weight{}
		d.weights[at] = w
	}
	w.users++
	if b.bytes > w.bytes {
		d.mapped += b.bytes - w.bytes
		w.bytes = b.bytes
	}
	return b, nil
}

// Owner, Freed and Imported are for the checks of package compute.

func (b *buffer) Owner() compute.Device   { return b.dev }
func (b *buffer) Freed() bool             { return b.freed }
func (b *buffer) Imported() *quant.Matrix { return b.matrix }

// Run checks the op as every device does and adds up its cost.
func (d *Device) Run(op compute.Op, out, in []compute.Buffer) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	o, err := compute.OwnOperands[*buffer](d, op, out, in)
	if err != nil {
		return err
	}
	if !d.Supports(op, o.InSpecs) {
		return fmt.Errorf("%s: %w", op.Name(), compute.ErrUnsupported)
	}
	if l, ok := d.options.Ledger.(compute.WorkLedger); ok {
		l.Run(op, o.OutSpecs, o.InSpecs)
	}
	d.runs[run{op.Name(), op.Cost(o.InSpecs)}]++
	return nil
}

// Read fills dst with zeros.
func (d *Device) Read(b compute.Buffer, dst []byte) error {
	clear(dst)
	return d.transfer(b, len(dst), false)
}

// Write does nothing with src.
func (d *Device) Write(b compute.Buffer, src []byte) error { return d.transfer(b, len(src), true) }

// transfer makes the checks of a copy.
func (d *Device) transfer(b compute.Buffer, n int, write bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err := compute.OwnCopy[*buffer](d, b, n, write)
	return err
}

// Sync has nothing to wait for.
func (d *Device) Sync() error { return nil }

// Memory returns what buffers take, as Report does.
func (d *Device) Memory() (used, peak int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.current, d.most
}

// Close has nothing to give back.
func (d *Device) Close() error { return nil }
