package computetest

import (
	"fmt"
	"math"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// cacheFormats are formats of quantized KV caches: every width, every group and every
// type of scales, and the extremes of all three together.
func cacheFormats() []quant.Format {
	all := []quant.Format{affine(2, 32, compute.BF16), affine(4, 32, compute.F16), affine(4, 128, compute.F32), affine(8, 128, compute.F32)}
	for _, bits := range []int{2, 3, 4, 5, 6, 8} {
		all = append(all, affine(bits, 64, compute.F16))
	}
	return all
}

// cacheCases are the ops of quantized KV caches.
func cacheCases() []testCase {
	var all []testCase
	for _, s := range []struct{ at, rows, t, cols int }{{0, 1, 1, 128}, {4, 9, 2, 256}, {17, 64, 40, 384}} {
		for i, f := range cacheFormats() {
			op := compute.QuantizeRows{At: s.at, Weight: compute.Weight{Format: f, Rows: s.rows, Cols: s.cols}}
			from := []compute.DType{compute.F32, compute.F16}[i%2]
			all = append(all, testCase{op: op, note: fmt.Sprintf("%s, %d at %d of %dx%d, from %v", formatNote(f), s.t, s.at, s.rows, s.cols, from), tol: exact,
				keeps: []int{0, 1, 2}, inputs: func(g gen) []compute.Array { return []compute.Array{g.toQuantize(from, s.t, s.cols)} }})
		}
		all = append(all, testCase{op: compute.CopyRows{At: s.at, Rows: s.rows, To: compute.U32}, note: fmt.Sprintf("%d at %d of %dx%d packed", s.t, s.at, s.rows, s.cols),
			tol: exact, keeps: []int{0}, inputs: func(g gen) []compute.Array { return []compute.Array{g.bytes(spec(compute.U32, s.t, s.cols))} }})
	}
	for _, s := range cacheSizes() {
		if s.kv != compute.F32 {
			continue
		}
		for _, f := range cacheFormats() {
			s := s
			s.op.HeadDim = (s.op.HeadDim + f.Group - 1) / f.Group * f.Group
			s.op.Scale = float32(1 / math.Sqrt(float64(s.op.HeadDim)))
			all = append(all, quantizedAttention(s, f))
		}
	}
	return all
}

// quantizedAttention is an attention whose keys and values are stored as f.
func quantizedAttention(s attentionSize, f quant.Format) testCase {
	op := compute.QuantizedAttention{Attention: s.op, Format: f}
	note := fmt.Sprintf("%s T=%d S=%d %dx%d/%d %s", s.note, s.t, s.s, s.op.Heads, s.op.HeadDim, s.op.KVHeads, formatNote(f))
	return testCase{op: op, note: note, tol: attended(s.op.HeadDim, s.s), inputs: func(g gen) []compute.Array {
		in := []compute.Array{g.normal(s.t, s.op.Heads*s.op.HeadDim)}
		for range 2 {
			part := compute.QuantizeRows{Weight: compute.Weight{Format: f, Rows: s.s, Cols: s.op.KVHeads * s.op.HeadDim}}
			x := g.normal(s.s, part.Weight.Cols)
			poison(x, s.op.Offset+s.t) // becomes scales of NaN
			var rows []compute.Array
			for _, w := range part.Weight.Specs() {
				rows = append(rows, zeros(w))
			}
			part.Define(rows, []compute.Array{x})
			in = append(in, rows...)
		}
		return append(in, intArray(s.bounds...))
	}}
}

// toQuantize is normal values with some hard groups: all equal, all below zero, one value
// far from the others, one not a number.
func (g gen) toQuantize(t compute.DType, rows, cols int) compute.Array {
	a := g.normal(rows, cols)
	v := a.F32()
	for i := range v {
		switch i / 32 % 8 {
		case 1:
			v[i] = 0.375
		case 3:
			v[i] = -float32(math.Abs(float64(v[i])))
		case 5:
			if i%32 == 7 {
				v[i] *= 1000
			}
		}
	}
	if rows > 2 {
		v[2*cols+40] = float32(math.NaN())
	}
	out := zeros(spec(t, rows, cols))
	out.SetFloats(v)
	return out
}

// bytes are random.
func (g gen) bytes(s compute.Spec) compute.Array {
	a := zeros(s)
	for i := range a.Data {
		a.Data[i] = byte(g.Uint32())
	}
	return a
}
