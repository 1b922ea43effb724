package compute

import (
	"fmt"
	"math"
)

// Attention is causal scaled dot-product attention with grouped heads: query
// head h reads key head h / (Heads/KVHeads).
//
// Query t sees the keys j of its own segment with j <= t and, when Window > 0,
// j > t-Window. Segments are runs of tokens between consecutive bounds, so several
// sequences can lie packed in one row of tokens. With Softcap > 0 a score s becomes
// Softcap·tanh(s/Softcap). Keys that were computed before are CacheAttention's.
//
//	in: q float [T, Heads·HeadDim], k and v [T, KVHeads·HeadDim] of q's type, bounds I32
//	    [segments+1] rising from 0 to at least T
//	out: o as q, lse F32 [T, Heads] (log of the sum of exp of the scores)
//
// RowWise asks that a query's output does not depend, to the bit, on the other queries:
// it is what the query alone gives without RowWise.
type Attention struct {
	Heads, KVHeads, HeadDim int
	Scale                   float32
	Window                  int
	Softcap                 float32
	RowWise                 bool
}

func (Attention) Name() string { return "attention" }

func (o Attention) Infer(in []Spec) ([]Spec, error) {
	if err := arity(in, 4); err != nil {
		return nil, err
	}
	if err := firstErr(o.check(in), want(in, 1, "k", dim(in, 0, 0), o.KVHeads*o.HeadDim), wantType(in, 1, "k", in[0].DType),
		want(in, 2, "v", in[1].Shape...), wantType(in, 2, "v", in[0].DType), want(in, 3, "bounds", -1), wantType(in, 3, "bounds", I32)); err != nil {
		return nil, err
	}
	if n := in[3].Shape[0]; n < 2 {
		return nil, fmt.Errorf("bounds has %d entries, want a start and an end at least", n)
	}
	return []Spec{in[0], {Shape{in[0].Shape[0], o.Heads}, F32}}, nil
}

// check checks the attributes and q.
func (o Attention) check(in []Spec) error {
	if o.Window < 0 || o.Softcap < 0 || o.Heads <= 0 || o.HeadDim <= 0 {
		return fmt.Errorf("heads %d of %d, window %d, softcap %g: want positive heads and nothing negative", o.Heads, o.HeadDim, o.Window, o.Softcap)
	}
	return firstErr(divides(o.Heads, o.KVHeads, "number of heads"), want(in, 0, "q", -1, o.Heads*o.HeadDim), wantActivation(in, 0, "q"))
}

// Cost counts, for every query, all keys up to its own. Segments shorter than the row
// cost less, but shapes do not tell them.
func (o Attention) Cost(in []Spec) Cost { return o.cost(in[0], in[0].Shape[0], in[0].DType) }

// cost is that of queries at the end of s keys of a type.
func (o Attention) cost(q Spec, s int, kv DType) Cost {
	n, keys := int64(q.Shape[0]), int64(s)
	seen := n*(keys-n) + n*(n+1)/2
	if o.Window > 0 {
		seen = min(seen, n*int64(o.Window))
	}
	width := int64(o.Heads * o.HeadDim)
	return Cost{FLOPs: 4 * seen * width, Bytes: 2*q.Bytes() + 2*keys*int64(o.KVHeads*o.HeadDim*kv.Size())}
}

// Visible returns the half-open range of keys that query t sees; seg is the
// start of its segment.
func (o Attention) Visible(t, seg int) (lo, hi int) {
	lo, hi = seg, t+1
	if o.Window > 0 {
		lo = max(lo, hi-o.Window)
	}
	return lo, hi
}

// SegmentStarts returns for each of t tokens the first of its segment.
func (o Attention) SegmentStarts(bounds []int32, t int) []int {
	starts := make([]int, t)
	s := 0
	for i := range starts {
		for s+1 < len(bounds) && int(bounds[s+1]) <= i {
			s++
		}
		starts[i] = int(bounds[s])
	}
	return starts
}

// score is the scaled and capped dot product; raw is before the cap.
func (o Attention) score(q, k []float32) float32 {
	s := dot(q, k) * o.Scale
	if o.Softcap > 0 {
		s = o.Softcap * float32(math.Tanh(float64(s/o.Softcap)))
	}
	return s
}

func (o Attention) Define(out, in []Array) {
	q, k, v := in[0].Floats(), in[1].Floats(), in[2].Floats()
	lse := out[1].F32()
	y, put := out[0].working()
	defer put()
	t, width := in[0].Shape[0], o.Heads*o.HeadDim
	for i, seg := range o.SegmentStarts(in[3].I32(), t) {
		lo, hi := o.Visible(i, seg)
		o.define(y[i*width:(i+1)*width], lse[i*o.Heads:(i+1)*o.Heads], q[i*width:(i+1)*width], k, v, lo, hi)
	}
}

// define lets one query look at the keys [lo, hi). A nil lse is not wanted.
func (o Attention) define(y, lse, q, k, v []float32, lo, hi int) {
	d := o.HeadDim
	p := make([]float64, hi-lo)
	for h := range o.Heads {
		kv := h / (o.Heads / o.KVHeads)
		qh := q[h*d:][:d]
		top := math.Inf(-1)
		for j := lo; j < hi; j++ {
			p[j-lo] = float64(o.score(qh, k[(j*o.KVHeads+kv)*d:][:d]))
			top = max(top, p[j-lo])
		}
		var sum float64
		for j := range p {
			p[j] = math.Exp(p[j] - top)
			sum += p[j]
		}
		if lse != nil {
			lse[h] = float32(top + math.Log(sum))
		}
		yh := y[h*d:][:d]
		clear(yh)
		for j := lo; j < hi; j++ {
			axpy(yh, float32(p[j-lo]/sum), v[(j*o.KVHeads+kv)*d:][:d])
		}
	}
}

// AttentionGrad is the gradient of Attention. Devices compute the probabilities again
// from lse, tile by tile (Dao et al., 2022).
//
//	in: q, k, v, bounds, o, lse as Attention's, do as o
//	out: dq, dk, dv as q, k, v
type AttentionGrad struct{ Attention }

func (AttentionGrad) Name() string { return "attention_grad" }

func (o AttentionGrad) Infer(in []Spec) ([]Spec, error) {
	if err := arity(in, 7); err != nil {
		return nil, err
	}
	fwd, err := o.Attention.Infer(in[:4])
	if err != nil {
		return nil, err
	}
	if err := firstErr(want(in, 4, "o", fwd[0].Shape...), wantType(in, 4, "o", in[0].DType),
		want(in, 5, "lse", fwd[1].Shape...), wantType(in, 5, "lse", F32), want(in, 6, "do", fwd[0].Shape...), wantType(in, 6, "do", in[0].DType)); err != nil {
		return nil, err
	}
	return []Spec{in[0], in[1], in[2]}, nil
}

func (o AttentionGrad) Cost(in []Spec) Cost {
	c := o.Attention.Cost(in[:4])
	return Cost{FLOPs: c.FLOPs * 5 / 2, Bytes: 3 * c.Bytes}
}

func (o AttentionGrad) Define(out, in []Array) {
	q, k, v, y, lse, dy := in[0].Floats(), in[1].Floats(), in[2].Floats(), in[4].Floats(), in[5].F32(), in[6].Floats()
	dq, put := out[0].working()
	defer put()
	dk, put := out[1].working()
	defer put()
	dv, put := out[2].working()
	defer put()
	clear(dq)
	clear(dk)
	clear(dv)
	d, t := o.HeadDim, in[0].Shape[0]
	starts := o.SegmentStarts(in[3].I32(), t)
	for i := range t {
		lo, hi := o.Visible(i, starts[i])
		for h := range o.Heads {
			kv := h / (o.Heads / o.KVHeads)
			at := (i*o.Heads + h) * d
			qh, dyh := q[at:][:d], dy[at:][:d]
			delta := dot(dyh, y[at:][:d])
			for j := lo; j < hi; j++ {
				kj := (j*o.KVHeads + kv) * d
				s := o.score(qh, k[kj:][:d])
				p := float32(math.Exp(float64(s - lse[i*o.Heads+h])))
				axpy(dv[kj:][:d], p, dyh)
				ds := p * (dot(dyh, v[kj:][:d]) - delta)
				if o.Softcap > 0 {
					r := s / o.Softcap
					ds *= 1 - r*r
				}
				axpy(dq[at:][:d], ds*o.Scale, k[kj:][:d])
				axpy(dk[kj:][:d], ds*o.Scale, qh)
			}
		}
	}
}
