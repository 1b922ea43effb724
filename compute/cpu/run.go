package cpu

import (
	"fmt"

	"github.com/lentil-lm/lentil/compute"
)

// Run checks the op against its shape rule and runs it to its end.
func (d *Device) Run(op compute.Op, out, in []compute.Buffer) error {
	o, err := compute.OwnOperands[*buffer](d, op, out, in)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.scratch.release()
	if err := d.dispatch(op, arrays(o.Out), arrays(o.In)); err != nil {
		return fmt.Errorf("%s: %w", op.Name(), err)
	}
	return nil
}

// dispatch calls the op's kernel, or its definition where there is none.
func (d *Device) dispatch(op compute.Op, out, in []compute.Array) error {
	if !inFloat32(op, out, in) {
		op.Define(out, in)
		return nil
	}
	switch o := op.(type) {
	case compute.MatMul:
		return d.matMul(o, out, in)
	case compute.LowRankRows:
		return d.lowRankRows(o, out, in)
	case compute.Linear:
		return d.linear(o, out, in)
	case compute.LinearGradInput:
		return d.linearGradInput(o, out, in)
	case compute.CrossEntropy:
		return d.crossEntropy(o, out, in)
	case compute.CrossEntropyLogits:
		return d.crossEntropyLogits(out, in)
	case compute.Attention:
		return d.attention(o, out, in)
	case compute.CacheAttention:
		return d.cacheAttention(o, out, in)
	case compute.StoreRows:
		return d.storeRows(o, out, in)
	case compute.QuantizeRows:
		return d.quantizeRows(o, out, in)
	case compute.AttentionGrad:
		return d.attentionGrad(o, out, in)
	case compute.Embed:
		return d.embed(o, out, in)
	case compute.EmbedGrad:
		return d.embedGrad(o, out, in)
	case compute.GatherRows:
		return d.gatherRows(out, in)
	case compute.ScatterRows:
		return d.scatterRows(o, out, in)
	case compute.RMSNormGrad:
		return d.rmsNormGrad(o, out, in)
	case compute.RowSquares:
		return d.rowSquares(o, out, in)
	case compute.Magnitude:
		return d.magnitude(o, out, in)
	case compute.MagnitudeGrad:
		return d.magnitudeGrad(out, in)
	case compute.ExpertLinear:
		return d.expertLinear(o, out, in)
	case compute.ExpertGradInput:
		return d.expertGradInput(o, out, in)
	case compute.ExpertGradWeight:
		return d.expertGradWeight(o, out, in)
	case compute.RouteGrad:
		return d.routeGrad(o, out, in)
	case compute.Sample:
		return d.sample(o, out, in)
	}
	d.infallible(op, out, in)
	return nil
}

// infallible calls the kernels that need no memory of their own and trust no number in
// their inputs.
func (d *Device) infallible(op compute.Op, out, in []compute.Array) {
	switch o := op.(type) {
	case compute.RMSNorm:
		d.rmsNorm(o, out, in)
	case compute.RoPE:
		d.rope(o, out, in)
	case compute.RopeTable:
		d.defineRows(o, out, in, []bool{true, false})
	case compute.SwiGLU:
		d.swiglu(out, in)
	case compute.SwiGLUGrad:
		d.swigluGrad(out, in)
	case compute.Add:
		d.add(o, out, in)
	case compute.Scale:
		d.scale(o, out, in)
	case compute.ScaleBy:
		d.scale(o.Scale(in[1]), out, in[:1])
	case compute.Fill:
		d.fill(o, out)
	case compute.CopyRows:
		d.copyRows(o, out, in)
	case compute.Dropout:
		d.dropout(o, out, in)
	case compute.SumRows:
		d.sumRows(o, out, in)
	case compute.SumSquares:
		d.sumSquares(o, out, in)
	case compute.UpdatedNorm:
		d.updatedNorm(o, out, in)
	case compute.Route:
		d.route(o, out, in)
	case compute.ArgMax:
		d.argMax(out, in)
	case compute.Combine:
		d.combine(out, in)
	case compute.CombineGrad:
		d.combineGrad(out, in)
	case compute.Momentum:
		d.defineParts(op, out, in[:3], in[3])
	case compute.SGD:
		d.defineParts(op, out, in[:3], in[3])
	case compute.Descend:
		if !compute.GivenUp(in[2], out, in[:1]) {
			d.add(o.Step(in[2]), out, in[:2])
		}
	case compute.ScaleRows:
		d.defineRows(op, out, in, []bool{true, true})
	case compute.UnitNorm:
		d.unitNorm(o, out, in)
	case compute.Adam:
		d.adam(o, out, in)
	default:
		op.Define(out, in)
	}
}

// inFloat32 reports whether the activations that op reads and writes are float32, which
// the kernels take.
func inFloat32(op compute.Op, out, in []compute.Array) bool {
	activations := compute.Activations(op)
	for _, i := range activations {
		if in[i].DType != compute.F32 {
			return false
		}
	}
	if _, stores := op.(compute.StoreRows); stores {
		return true
	}
	_, embeds := op.(compute.Embed)
	return activations == nil && !embeds || out[0].DType == compute.F32 || out[0].DType == compute.I32
}

// arrays are the contents of buffers.
func arrays(buffers []*buffer) []compute.Array {
	a := make([]compute.Array, len(buffers))
	for i, b := range buffers {
		a[i] = b.Array
	}
	return a
}
