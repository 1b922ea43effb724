package mlx

import (
	"fmt"
	"slices"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/mlx/mlxc"
	"github.com/lentil-lm/lentil/quant"
)

// Run checks the op against its shape rule and adds its nodes to the graph.
func (d *Device) Run(op compute.Op, out, in []compute.Buffer) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errClosed
	}
	o, err := compute.OwnOperands[*buffer](d, op, out, in)
	if err != nil {
		return err
	}
	if !d.has(op, o.OutSpecs, o.InSpecs) {
		return fmt.Errorf("%s: %w", op.Name(), compute.ErrUnsupported)
	}
	if w, n := widens(op, o.OutSpecs, d.info.Activations); n > 0 {
		if err := d.admitWide(o.In[w].weight, n); err != nil {
			return fmt.Errorf("%s: %w", op.Name(), err)
		}
	}
	isEnd := d.account.run(op, o.OutSpecs, o.InSpecs)
	c, need := &call{d: d, g: d.g, out: o.Out, in: o.In, results: make([]mlxc.Array, len(out))}, d.need()
	d.later(func() error {
		if err := c.build(op); err != nil {
			return fmt.Errorf("%s: %w", op.Name(), err)
		}
		if isEnd {
			d.start(need)
		}
		return nil
	})
	return d.take()
}

// build adds the op's nodes, and puts the results into the outputs' slots.
func (c *call) build(op compute.Op) error {
	d := c.d
	for i, b := range c.in {
		if !isCache(op, i) {
			d.value(b)
		}
	}
	if !c.byKernel(op) {
		if err := c.dispatch(op); err != nil {
			return err
		}
	}
	for i, b := range c.out {
		if d.g.Failed() {
			break // Close of the graph tells it
		}
		if c.results[i] == 0 {
			return fmt.Errorf("output %d was not computed", i)
		}
		d.put(b, d.g.As(c.results[i], types[b.spec.DType]), c.heads(i))
		if !b.fresh && !isLazy(op, i) {
			b.fresh = true
			d.fresh = append(d.fresh, b)
		}
	}
	return nil
}

// isCache tells inputs that may be as byHead has them.
func isCache(op compute.Op, i int) bool {
	o, ok := op.(compute.CacheAttention)
	return ok && i >= 2 && o.Format.Kind == quant.Dense
}

// isLazy tells an output that is not queued with the others, as most never read it: AttentionGrad computes sums of its own.
func isLazy(op compute.Op, i int) bool {
	_, ok := op.(compute.Attention)
	return ok && i == 1
}

// Supports reports whether the op is built of MLX's functions.
func (d *Device) Supports(op compute.Op, in []compute.Spec) bool {
	out, err := compute.Infer(op, in)
	return err == nil && d.has(op, out, in)
}

// has reports whether the op is built of MLX's functions, for these sizes.
func (d *Device) has(op compute.Op, out, in []compute.Spec) bool {
	for _, s := range slices.Concat(out, in) {
		if s.Shape.Elems() == 0 {
			return false // nothing to compute: the host does that, too
		}
	}
	if w, i, ok := compute.WeightInput(op); ok && !d.isExact(w.Format) && isExactOp(out, in[:i]) {
		return false
	}
	switch op.(type) {
	case compute.Linear, compute.LinearGradInput, compute.MatMul, compute.Embed, compute.LowRankRows, compute.SumRows,
		compute.CrossEntropy, compute.CrossEntropyLogits,
		compute.RMSNorm, compute.RMSNormGrad, compute.RopeTable, compute.RoPE, compute.Attention, compute.AttentionGrad,
		compute.SwiGLU, compute.SwiGLUGrad, compute.Add, compute.Scale, compute.ScaleBy, compute.ScaleRows, compute.Fill,
		compute.GatherRows, compute.ScatterRows, compute.EmbedGrad, compute.CopyRows,
		compute.ExpertLinear, compute.ExpertGradInput, compute.ExpertGradWeight, compute.Route, compute.RouteGrad, compute.Combine, compute.CombineGrad,
		compute.Magnitude, compute.MagnitudeGrad, compute.UpdatedNorm, compute.ClipFactor, compute.Reshape,
		compute.Dropout, compute.Guard, compute.SumSquares, compute.Adam, compute.SGD, compute.Adafactor, compute.Momentum, compute.Descend, compute.UnitNorm,
		compute.SegmentSums, compute.DPO, compute.ORPO, compute.ArgMax, compute.Sample, compute.QuantizeRows, compute.RowSquares, compute.StoreRows, compute.CacheAttention:
		return true
	}
	return false
}

// isExactOp reports whether all of an op's activations are float32. Its weights must be exact then.
func isExactOp(out, in []compute.Spec) bool {
	for _, s := range append(out[:1:1], in[:min(1, len(in))]...) {
		if s.DType.IsFloat() && s.DType != compute.F32 {
			return false
		}
	}
	return true
}

// A call is an op under way.
type call struct {
	d       *Device
	g       *mlxc.Graph
	out, in []*buffer
	results []mlxc.Array // of out, in any type of floats
	inF32   bool         // products are of float32
	byHead  []int        // of results, the heads of those that are as Device.byHead has them; nil without one
}

// heads is byHead of a result.
func (c *call) heads(i int) int {
	if c.byHead == nil {
		return 0
	}
	return c.byHead[i]
}

// dispatch builds the op.
func (c *call) dispatch(op compute.Op) error {
	switch o := op.(type) {
	case compute.Linear:
		c.linear(o)
	case compute.LinearGradInput:
		c.linearGradInput(o)
	case compute.MatMul:
		c.matMul(o)
	case compute.LowRankRows:
		return c.lowRankRows(o)
	case compute.SumRows:
		c.results[0] = c.added(o.Accumulate, c.g.Sum(c.f32(0), 0, false))
	case compute.Embed:
		return c.embed(o)
	case compute.EmbedGrad:
		return c.scatter(1, o.Rows, c.g.As(c.d.value(c.out[0]), mlxc.F32))
	case compute.CrossEntropy:
		return c.crossEntropy(o)
	case compute.CrossEntropyLogits:
		return c.crossEntropyLogits()
	case compute.Attention:
		return c.attention(o)
	case compute.AttentionGrad:
		return c.attentionGrad(o)
	case compute.StoreRows:
		return c.storeRows(o)
	case compute.CacheAttention:
		return c.cacheAttention(o)
	case compute.GatherRows:
		return c.gatherRows()
	case compute.ScatterRows:
		return c.scatter(1, o.Rows, c.g.Zeros(mlxc.F32, c.out[0].spec.Shape...))
	case compute.ExpertLinear, compute.ExpertGradInput, compute.ExpertGradWeight, compute.Route, compute.RouteGrad, compute.Combine, compute.CombineGrad:
		return c.mixture(op)
	case compute.Adam, compute.SGD, compute.Adafactor, compute.Momentum, compute.Descend, compute.UnitNorm, compute.Guard, compute.ClipFactor, compute.SumSquares:
		c.update(op)
	case compute.SegmentSums:
		return c.segmentSums()
	case compute.DPO, compute.ORPO:
		return c.preference(op)
	case compute.Sample:
		c.sample(o)
	case compute.QuantizeRows:
		c.quantizeRows(o)
	case compute.RowSquares:
		c.rowSquares(o)
	default:
		c.elements(op)
	}
	return nil
}

// mixture builds the ops of experts.
func (c *call) mixture(op compute.Op) error {
	switch o := op.(type) {
	case compute.ExpertLinear:
		return c.expertLinear(o)
	case compute.ExpertGradInput:
		return c.expertGradInput(o)
	case compute.ExpertGradWeight:
		return c.expertGradWeight(o)
	case compute.Route:
		c.route(o)
	case compute.RouteGrad:
		return c.routeGrad(o)
	case compute.Combine:
		c.combine()
	case compute.CombineGrad:
		c.combineGrad()
	}
	return nil
}

// x is input i.
func (c *call) x(i int) mlxc.Array { return c.in[i].array }

// f32 is input i in float32.
func (c *call) f32(i int) mlxc.Array {
	if b := c.in[i]; b.weight == nil && b.spec.DType == compute.F32 {
		return b.array
	}
	return c.g.As(c.in[i].array, mlxc.F32)
}

// dims is the shape of input i.
func (c *call) dims(i int) compute.Shape { return c.in[i].spec.Shape }

// added is y, or y and what the first output holds.
func (c *call) added(accumulate bool, y mlxc.Array) mlxc.Array {
	if !accumulate {
		return y
	}
	return c.g.Add(c.g.As(c.d.value(c.out[0]), mlxc.F32), c.g.As(c.asRounded(y), mlxc.F32))
}

// scaled is alpha·x, in float32 unless alpha is 1.
func (c *call) scaled(x mlxc.Array, alpha float32) mlxc.Array {
	if alpha == 1 {
		return x
	}
	return c.g.Multiply(x, c.g.Float(alpha))
}

// indices is input i, of integers, all of them below n. Those of the host are checked, and the device's are read for it.
func (c *call) indices(i, n int) (mlxc.Array, error) {
	return c.x(i), checkIndices(c.d.ints(c.in[i]).I32(), 0, n)
}

func checkIndices(list []int32, from, n int) error {
	for _, v := range list {
		if int(v) < from || int(v) >= n {
			return fmt.Errorf("index %d is beyond the %d rows of its matrix", v, n)
		}
	}
	return nil
}
