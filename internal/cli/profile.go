package cli

import (
	"cmp"
	"fmt"
	"io"
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
	ops              map[string]*opFigure
}

// opFigure is what one kind of op took in all.
type opFigure struct {
	Op      string  `json:"op"`
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
		f = &opFigure{Op: op.Name()}
		p.ops[op.Name()] = f
	}
	f.Calls++
	f.Seconds += spent.Seconds()
	f.FLOPs += cost.FLOPs
	f.Bytes += cost.Bytes
	return nil
}

// take returns what was counted since the last take, the longest first.
func (p *profiler) take() []opFigure {
	var out []opFigure
	for _, f := range slices.SortedFunc(maps.Values(p.ops), func(a, b *opFigure) int {
		return cmp.Or(cmp.Compare(b.Seconds, a.Seconds), cmp.Compare(a.Op, b.Op))
	}) {
		out = append(out, *f)
	}
	p.ops = map[string]*opFigure{}
	return out
}

// sum adds up ops.
func sum(ops []opFigure) (all opFigure) {
	for _, f := range ops {
		all.Calls += f.Calls
		all.Seconds += f.Seconds
		all.FLOPs += f.FLOPs
		all.Bytes += f.Bytes
	}
	return all
}

// printProfile prints a table of ops and their share of wall seconds; the rest is what lies between ops.
func printProfile(w io.Writer, title string, ops []opFigure, wall float64) {
	fmt.Fprintf(w, "\n%s, per op:\n%-22s %8s %10s %6s %9s %8s\n", title, "op", "calls", "ms", "share", "GFLOP/s", "GB/s")
	row := func(f opFigure) {
		fmt.Fprintf(w, "%-22s %8d %10.1f %5.1f%% %9.1f %8.1f\n", f.Op, f.Calls, 1e3*f.Seconds, 100*f.Seconds/wall, float64(f.FLOPs)/f.Seconds/1e9, float64(f.Bytes)/f.Seconds/1e9)
	}
	for _, f := range ops {
		row(f)
	}
	all := sum(ops)
	all.Op = "all ops"
	row(all)
	fmt.Fprintf(w, "%-22s %8s %10.1f %5.1f%%\n", "between ops", "", 1e3*(wall-all.Seconds), 100*(1-all.Seconds/wall))
}
