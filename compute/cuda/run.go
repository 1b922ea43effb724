package cuda

import (
	"fmt"
	"slices"

	"github.com/lentil-lm/lentil/compute"
)

// Run checks the op against its shape rule and queues it.
func (d *Device) Run(op compute.Op, out, in []compute.Buffer) error {
	d.enter()
	defer d.leave()
	if d.closed {
		return errClosed
	}
	o := &d.operandsOf
	defer o.Forget()
	if err := o.Own(d, op, out, in); err != nil {
		return err
	}
	if !d.has(op, o.OutSpecs, o.InSpecs) {
		return fmt.Errorf("%s: %w", op.Name(), compute.ErrUnsupported)
	}
	for _, b := range o.Out {
		b.changed()
	}
	d.dispatch(op, o.Out, o.In)
	d.freeAreas()
	for _, b := range o.Out {
		d.mark(b)
	}
	if err := d.take(); err != nil {
		return fmt.Errorf("%s: %w", op.Name(), err)
	}
	return nil
}

// Supports reports whether there is a kernel.
func (d *Device) Supports(op compute.Op, in []compute.Spec) bool {
	out, err := compute.Infer(op, in)
	return err == nil && d.has(op, out, in)
}

// has reports whether there is a kernel for these types and sizes.
func (d *Device) has(op compute.Op, out, in []compute.Spec) bool {
	if w, i, ok := compute.WeightInput(op); ok && !isExact(w.Format) && isExactOp(op, out, in[:i]) {
		return false
	}
	switch o := op.(type) {
	case compute.Embed, compute.RopeTable, compute.Fill, compute.CopyRows, compute.Guard, compute.ArgMax,
		compute.Adam, compute.SGD, compute.Momentum, compute.Descend, compute.UnitNorm, compute.Reshape, compute.ClipFactor, compute.Adafactor,
		compute.RowSquares, compute.UpdatedNorm, compute.SegmentSums, compute.DPO, compute.ORPO:
		return isActivation(out[0].DType) || out[0].DType == compute.F16 && op.Name() == "copy_rows" || !out[0].DType.IsFloat()
	case compute.Linear, compute.LinearGradInput, compute.CrossEntropy, compute.MatMul, compute.RMSNorm, compute.RoPE, compute.SwiGLU, compute.SwiGLUGrad,
		compute.Add, compute.Scale, compute.GatherRows, compute.ScatterRows, compute.SumRows, compute.SumSquares,
		compute.RMSNormGrad, compute.Dropout, compute.EmbedGrad, compute.ScaleRows, compute.Magnitude, compute.MagnitudeGrad,
		compute.RouteGrad, compute.Combine, compute.CombineGrad, compute.ExpertLinear, compute.ExpertGradInput, compute.ExpertGradWeight:
		return isActivation(in[0].DType) && isActivation(out[0].DType)
	case compute.Route:
		return isActivation(in[0].DType)
	case compute.ScaleBy:
		return isActivation(in[0].DType) && in[0].Shape.Elems() <= mostScaled
	case compute.CrossEntropyLogits:
		return in[0].DType == out[1].DType && isActivation(in[0].DType)
	case compute.LowRankRows:
		for i := range o.Scales {
			if in[2+2*i].Shape[1] > mostRank {
				return false
			}
		}
		return isActivation(in[0].DType) && isActivation(out[0].DType)
	case compute.QuantizeRows:
		return true
	case compute.Sample:
		return !slices.ContainsFunc(o.Rows, func(s compute.Sampling) bool { return len(s.XTCKeep) > mostKept })
	case compute.Attention:
		return isActivation(in[0].DType) && o.HeadDim <= widestHead
	case compute.AttentionGrad:
		return isActivation(in[0].DType) && o.HeadDim <= widestHead
	case compute.StoreRows:
		return isActivation(in[0].DType)
	case compute.CacheAttention:
		return isActivation(in[0].DType) && o.HeadDim <= widestHead && (in[0].DType == compute.BF16 || !isDense(o.Format) || o.Format.DType != compute.BF16)
	}
	return false
}

// isExactOp reports whether all of an op's activations, in and out, are float32. Its weights must be exact then.
func isExactOp(op compute.Op, out, in []compute.Spec) bool {
	switch op.(type) {
	case compute.ExpertLinear, compute.ExpertGradInput: // sums over the rank of an adapter are too short to hide the rounding
		return in[0].DType == compute.F32
	}
	rounded := func(s compute.Spec) bool { return s.DType.IsFloat() && s.DType != compute.F32 }
	return !rounded(out[0]) && (len(in) == 0 || !rounded(in[0]))
}

// isActivation reports whether kernels take activations of the type.
func isActivation(t compute.DType) bool { return t == compute.F32 || t == compute.BF16 }

// dispatch queues the op's kernels.
func (d *Device) dispatch(op compute.Op, out, in []*buffer) {
	switch o := op.(type) {
	case compute.Linear:
		d.linear(o, out, in)
	case compute.LinearGradInput:
		d.linearGradInput(o, out, in)
	case compute.MatMul:
		d.matMul(o, out, in)
	case compute.Embed:
		d.embed(o, out, in)
	case compute.RMSNorm:
		d.rmsNorm(o, out, in)
	case compute.RMSNormGrad:
		d.rmsNormGrad(o, out, in)
	case compute.RopeTable:
		d.ropeTable(o, out, in)
	case compute.RoPE:
		d.rope(o, out, in)
	case compute.Attention:
		d.attention(o, out, in)
	case compute.AttentionGrad:
		d.attentionGrad(o, out, in)
	case compute.StoreRows:
		d.storeRows(o, out, in)
	case compute.CacheAttention:
		d.cacheAttention(o, out, in)
	case compute.CrossEntropy:
		d.crossEntropy(o, out, in)
	case compute.CrossEntropyLogits:
		if in[0].array.Shape[0] > 0 {
			d.entropy(out[0].ptr, out[1].array, in[0].array, in[1].ptr, in[2].ptr, true)
		}
	case compute.Route:
		d.route(o, out, in)
	case compute.RouteGrad:
		d.routeGrad(o, out, in)
	case compute.Combine:
		d.combine(out, in)
	case compute.CombineGrad:
		d.combineGrad(out, in)
	case compute.ExpertLinear:
		d.expertLinear(o, out, in)
	case compute.ExpertGradInput:
		d.expertGradInput(o, out, in)
	case compute.ExpertGradWeight:
		d.expertGradWeight(o, out, in)
	default:
		d.small(op, out, in)
	}
}

// small are the ops over elements and rows.
func (d *Device) small(op compute.Op, out, in []*buffer) {
	switch o := op.(type) {
	case compute.SwiGLU:
		d.swiGLU(out, in)
	case compute.SwiGLUGrad:
		d.swiGLUGrad(gateGrad{[2]array{out[0].array, out[1].array}, in[0].array, in[1].array, in[2].array})
	case compute.Add:
		d.add(o, out, in)
	case compute.Scale:
		d.elements("scale", o.Alpha, out[0].array, in[0].array)
	case compute.ScaleBy:
		d.scaleBy(out, in)
	case compute.Fill:
		d.elements("fill", o.Value, out[0].array)
	case compute.CopyRows:
		d.copyRows(o, out, in)
	case compute.GatherRows:
		d.gatherRows(out, in)
	case compute.ScatterRows:
		d.scatterRows(o, out, in)
	case compute.SumRows:
		d.sumRows(o, out, in)
	case compute.ArgMax:
		d.argMax(out, in)
	case compute.Sample:
		d.sample(o, out, in)
	case compute.QuantizeRows:
		d.quantizeRows(o, out, in)
	case compute.Dropout:
		d.dropout(o, out, in)
	case compute.EmbedGrad:
		d.embedGrad(o, out, in)
	case compute.RowSquares:
		d.rowSquares(o, out, in)
	case compute.UpdatedNorm:
		d.updatedNorm(o, out, in)
	case compute.Magnitude:
		d.magnitude(o, out, in)
	case compute.MagnitudeGrad:
		d.magnitudeGrad(out, in)
	case compute.LowRankRows:
		d.lowRankRows(o, out, in)
	case compute.ScaleRows:
		d.scaleRows(out, in)
	case compute.SegmentSums:
		d.segmentSums(out, in)
	case compute.DPO:
		d.dpo(o, out, in)
	case compute.ORPO:
		d.orpo(o, out, in)
	default:
		d.update(op, out, in)
	}
}

// update are the ops of optimizers.
func (d *Device) update(op compute.Op, out, in []*buffer) {
	switch o := op.(type) {
	case compute.SumSquares:
		d.sumSquares(o, out, in)
	case compute.ClipFactor:
		d.clipFactor(o, out, in)
	case compute.Guard:
		d.guard(out, in)
	case compute.Adam:
		d.adam(o, out, in)
	case compute.SGD:
		d.sgd(o, out, in)
	case compute.Momentum:
		d.momentum(o, out, in)
	case compute.Descend:
		d.descend(o, out, in)
	case compute.UnitNorm:
		d.unitNorm(o, out, in)
	case compute.Reshape:
		d.reshape(out, in)
	case compute.Adafactor:
		d.adafactor(o, out, in)
	}
}
