package cuda

import (
	"fmt"
	"slices"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// mostCaptured is how many launches a graph of a program has at most: those of a token that is answered, whole.
const mostCaptured = 512

// A program is ops as graphs of their launches, with the work memory that these name.
type program struct {
	d       *Device
	graphs  []driver.GraphExec
	work    []area
	buffers []*buffer // of the ops
	results []*buffer // of these, those that the host reads while the next run is on its way
}

// A collector takes launches and work memory of ops that are compiled and not run.
type collector struct {
	records []record
	work    []area // taken from the device
	free    []area // of these, what the next op may have
}

// Compile collects the launches of ops and makes graphs of them.
func (d *Device) Compile(calls []compute.Call) (compute.Program, error) {
	d.enter()
	defer d.leave()
	if d.closed {
		return nil, errClosed
	}
	d.flush()
	p := &program{d: d}
	c := &collector{}
	d.collecting = c
	err := p.collect(calls)
	d.emit()
	d.freeAreas()
	d.collecting, d.waited = nil, false
	p.work = c.work
	if err == nil {
		err = d.take()
	}
	for part := range slices.Chunk(c.records, mostCaptured) {
		if err != nil {
			break
		}
		var g driver.GraphExec
		if g, err = d.capture(part); err == nil {
			p.graphs = append(p.graphs, g)
		}
	}
	if err != nil {
		p.free()
		return nil, err
	}
	return p, nil
}

// collect gives the device all ops.
func (p *program) collect(calls []compute.Call) error {
	d := p.d
	var o compute.Operands[*buffer]
	seen := map[*buffer]bool{}
	for _, c := range calls {
		if err := o.Own(d, c.Op, c.Out, c.In); err != nil {
			return err
		}
		if !d.has(c.Op, o.OutSpecs, o.InSpecs) {
			return fmt.Errorf("%s: %w", c.Op.Name(), compute.ErrUnsupported)
		}
		d.dispatch(c.Op, o.Out, o.In)
		d.freeAreas()
		for _, b := range o.Out {
			if b.compiled = !isResult(b.array.Spec); !b.compiled && !slices.Contains(p.results, b) {
				p.results = append(p.results, b)
			}
		}
		for _, b := range slices.Concat(o.Out, o.In) {
			if !seen[b] {
				seen[b] = true
				p.buffers = append(p.buffers, b)
			}
		}
	}
	return nil
}

// isResult tells chosen tokens and figures.
func isResult(s compute.Spec) bool {
	return s.DType == compute.I32 || s.DType == compute.F32 && len(s.Shape) == 1 && s.Shape[0] <= 1024
}

// take gives work memory that an earlier op of the program has had.
func (c *collector) take(n int64) (driver.Ptr, bool) {
	i := slices.IndexFunc(c.free, func(a area) bool { return a.bytes == n })
	if i < 0 {
		return 0, false
	}
	p := c.free[i].ptr
	c.free = slices.Delete(c.free, i, i+1)
	return p, true
}

// Run queues the graphs.
func (p *program) Run() error {
	d := p.d
	d.enter()
	defer d.leave()
	if d.closed {
		return errClosed
	}
	for _, b := range p.buffers {
		if b.freed {
			return fmt.Errorf("%s: program: %w", d.name, compute.ErrFreed)
		}
	}
	d.flush()
	for _, g := range p.graphs {
		d.replay(g)
	}
	for _, b := range p.results {
		d.mark(b)
	}
	d.marks.ran, d.marks.due = d.marks.last+1, true
	return d.take()
}

// Free gives graphs and work memory back.
func (p *program) Free() {
	p.d.enter()
	defer p.d.leave()
	if !p.d.closed {
		p.free()
	}
}

func (p *program) free() {
	for _, g := range p.graphs {
		p.d.discard(g)
	}
	for _, a := range p.work {
		p.d.release(a.ptr, a.bytes)
	}
	p.graphs, p.work = nil, nil
}
