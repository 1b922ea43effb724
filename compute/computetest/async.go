package computetest

import (
	"fmt"
	"slices"
	"sync"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// Async is a device that works beside its caller, as a GPU does, and counts how often the
// caller waits for it. Run, Write and Free only queue; Read and Sync wait. An error of the
// work is told by the next of these two. Close ends its queue, and leaves the device alone
// that does the work.
type Async struct {
	dev  compute.Device // does the work
	work chan func() error

	mu     sync.Mutex
	change *sync.Cond
	queued int // works so far
	done   int
	err    error
	counts Counts
}

// Counts is what a device was asked for.
type Counts struct {
	Runs, Writes int      // that do not wait
	Reads, Syncs int      // that wait
	Bytes        int64    // that were read
	Behind       []int    // of each read: works that were queued behind what it waits for
	Ops          []string // names of the ops run
	Programs     int      // that were run
}

// NewAsync makes a device of one whose Run returns when the work is done.
func NewAsync(dev compute.Device) *Async {
	d := &Async{dev: dev, work: make(chan func() error, 1<<14)}
	d.change = sync.NewCond(&d.mu)
	go func() {
		for f := range d.work {
			err := f()
			d.mu.Lock()
			d.done++
			if d.err == nil {
				d.err = err
			}
			d.change.Broadcast()
			d.mu.Unlock()
		}
	}()
	return d
}

// Take returns the counts since the last call.
func (d *Async) Take() Counts {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.counts
	d.counts = Counts{}
	return c
}

// asyncBuffer is a buffer with the number of the work that wrote it last.
type asyncBuffer struct {
	compute.Buffer
	dev    *Async
	writer int
	weight *quant.Matrix // nil for a buffer of Alloc
}

func (b *asyncBuffer) Free() {
	b.dev.queue(func() error { b.Buffer.Free(); return nil })
}

// queue takes on work that writes these buffers.
func (d *Async) queue(f func() error, written ...compute.Buffer) {
	d.mu.Lock()
	d.queued++
	for _, b := range written {
		b.(*asyncBuffer).writer = d.queued
	}
	d.mu.Unlock()
	d.work <- f
}

// wait returns when so many works are done, with the error of one of them.
func (d *Async) wait(n int) error {
	for d.done < n {
		d.change.Wait()
	}
	err := d.err
	d.err = nil
	return err
}

// Info is the device's that does the work.
func (d *Async) Info() compute.Info {
	info := d.dev.Info()
	info.Name, info.Async = "async", true
	return info
}

// Alloc does not wait.
func (d *Async) Alloc(shape compute.Shape, t compute.DType) (compute.Buffer, error) {
	b, err := d.dev.Alloc(shape, t)
	if err != nil {
		return nil, err
	}
	return &asyncBuffer{Buffer: b, dev: d}, nil
}

// ImportWeight does not wait.
func (d *Async) ImportWeight(m *quant.Matrix) (compute.Buffer, error) {
	b, err := d.dev.ImportWeight(m)
	if err != nil {
		return nil, err
	}
	return &asyncBuffer{Buffer: b, dev: d, weight: m}, nil
}

// Run checks the op at once, refuses what the device lacks, and queues the rest.
func (d *Async) Run(op compute.Op, out, in []compute.Buffer) error {
	if err := compute.Check(op, bufferSpecs(out), bufferSpecs(in)); err != nil {
		return err
	}
	for _, b := range out {
		if b.(*asyncBuffer).weight != nil {
			return compute.ErrReadOnly
		}
	}
	for i, b := range in {
		if m := b.(*asyncBuffer).weight; m != nil {
			if err := compute.CheckWeight(op, i, m); err != nil {
				return err
			}
		}
	}
	if !d.dev.Supports(op, bufferSpecs(in)) {
		return fmt.Errorf("%s: %w", op.Name(), compute.ErrUnsupported)
	}
	d.mu.Lock()
	d.counts.Runs++
	d.counts.Ops = append(d.counts.Ops, op.Name())
	d.mu.Unlock()
	outs, ins := unwrap(out), unwrap(in)
	d.queue(func() error { return d.dev.Run(op, outs, ins) }, out...)
	return nil
}

// asyncProgram queues its ops one by one.
type asyncProgram struct {
	dev   *Async
	calls []compute.Call
}

// Compile refuses what the device lacks.
func (d *Async) Compile(calls []compute.Call) (compute.Program, error) {
	for _, c := range calls {
		if in := bufferSpecs(c.In); !d.dev.Supports(c.Op, in) {
			return nil, fmt.Errorf("%s: %w", c.Op.Name(), compute.ErrUnsupported)
		}
	}
	return &asyncProgram{d, slices.Clone(calls)}, nil
}

func (p *asyncProgram) Run() error {
	p.dev.mu.Lock()
	p.dev.counts.Programs++
	p.dev.mu.Unlock()
	for _, c := range p.calls {
		if err := p.dev.Run(c.Op, c.Out, c.In); err != nil {
			return err
		}
	}
	return nil
}

func (p *asyncProgram) Free() {}

func bufferSpecs(buffers []compute.Buffer) []compute.Spec {
	specs := make([]compute.Spec, len(buffers))
	for i, b := range buffers {
		specs[i] = b.Spec()
	}
	return specs
}

func unwrap(buffers []compute.Buffer) []compute.Buffer {
	out := make([]compute.Buffer, len(buffers))
	for i, b := range buffers {
		out[i] = b.(*asyncBuffer).Buffer
	}
	return out
}

// Supports asks the device that does the work.
func (d *Async) Supports(op compute.Op, in []compute.Spec) bool { return d.dev.Supports(op, in) }

// Read waits for what wrote the buffer, not for what was queued behind it.
func (d *Async) Read(b compute.Buffer, dst []byte) error {
	buf := b.(*asyncBuffer)
	d.mu.Lock()
	d.counts.Reads++
	d.counts.Bytes += int64(len(dst))
	d.counts.Behind = append(d.counts.Behind, d.queued-buf.writer)
	err := d.wait(buf.writer)
	d.mu.Unlock()
	if err != nil {
		return err
	}
	return d.dev.Read(buf.Buffer, dst)
}

// Write copies src at once.
func (d *Async) Write(b compute.Buffer, src []byte) error {
	if want := b.Spec().Bytes(); int64(len(src)) != want {
		return fmt.Errorf("async: %d bytes given for a buffer of %d", len(src), want)
	}
	if b.(*asyncBuffer).weight != nil {
		return compute.ErrReadOnly
	}
	d.mu.Lock()
	d.counts.Writes++
	d.mu.Unlock()
	src = slices.Clone(src)
	d.queue(func() error { return d.dev.Write(b.(*asyncBuffer).Buffer, src) }, b)
	return nil
}

// Sync waits for all work.
func (d *Async) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts.Syncs++
	return d.wait(d.queued)
}

// Memory is what the device that does the work holds now; what is queued may change it.
func (d *Async) Memory() (used, peak int64) { return d.dev.Memory() }

// Close ends the queue.
func (d *Async) Close() error {
	err := d.Sync()
	close(d.work)
	return err
}
