package bench

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/lentil-lm/lentil/compute"
)

// A profiler is a device that tells what runs on it. While off it only hands the ops on; counting adds up
// their costs, timing also waits for each and takes its time.
type profiler struct {
	compute.Device
	counting, timing bool
	ops              map[string]*Op
}

// An Op is what one kind of op took in all.
type Op struct {
	Name    string  `json:"op"`
	Calls   int     `json:"calls"`
	Seconds float64 `json:"seconds"`
	FLOPs   int64   `json:"flops"`
	Bytes   int64   `json:"bytes"`
}

func (p *profiler) Run(op compute.Op, out, in []compute.Buffer) error {
	if !p.counting && !p.timing {
		return p.Device.Run(op, out, in)
	}
	start := time.Now()
	err := p.Device.Run(op, out, in)
	if p.timing && err == nil {
		err = p.Sync()
	}
	if err != nil {
		return err
	}
	spent := time.Since(start)
	specs := make([]compute.Spec, len(in))
	for i, b := range in {
		specs[i] = b.Spec()
	}
	cost := op.Cost(specs)
	f := p.ops[op.Name()]
	if f == nil {
		f = &Op{Name: op.Name()}
		p.ops[op.Name()] = f
	}
	f.Calls++
	f.Seconds += spent.Seconds()
	f.FLOPs += cost.FLOPs
	f.Bytes += cost.Bytes
	return nil
}

// Compile leaves to the device what nobody counts.
func (p *profiler) Compile(calls []compute.Call) (compute.Program, error) {
	dev, ok := p.Device.(compute.Compiler)
	if !ok || p.counting || p.timing {
		return nil, compute.ErrUnsupported
	}
	return dev.Compile(calls)
}

// take returns what was counted since the last take, the longest first.
func (p *profiler) take() []Op {
	var out []Op
	for _, f := range slices.SortedFunc(maps.Values(p.ops), func(a, b *Op) int {
		return cmp.Or(cmp.Compare(b.Seconds, a.Seconds), cmp.Compare(a.Name, b.Name))
	}) {
		out = append(out, *f)
	}
	p.ops = map[string]*Op{}
	return out
}

// Sum adds up ops.
func Sum(ops []Op) (all Op) {
	for _, f := range ops {
		all.Calls += f.Calls
		all.Seconds += f.Seconds
		all.FLOPs += f.FLOPs
		all.Bytes += f.Bytes
	}
	return all
}
