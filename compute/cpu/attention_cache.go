package cpu

import (
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// storeRows is compute.StoreRows.
func (d *Device) storeRows(o compute.StoreRows, out, in []compute.Array) error {
	spans, x := compute.Spans(in[1]), in[0].F32()
	if err := compute.CheckSpans(spans, in[0].Shape[0], func(i int) int { return o.Rows[i] }); err != nil {
		return err
	}
	if o.Format.Kind == quant.Affine {
		for i, s := range spans {
			d.putRows(o.Cache(out, i), s.At, x[s.From*o.Cols:s.To*o.Cols])
		}
		return nil
	}
	row := o.Format.RowBytes(o.Cols)
	if len(spans) > 1 && len(x) <= len(spans)*grain { // a few rows each: a task takes whole sequences
		d.pool.split(len(spans), storesEach, func(lo, hi int) {
			for i := lo; i < hi; i++ {
				s := spans[i]
				d.kernels.narrow(out[i].Data[s.At*row:(s.At+s.To-s.From)*row], x[s.From*o.Cols:s.To*o.Cols], o.Format.DType)
			}
		})
		return nil
	}
	for i, s := range spans {
		shape := compute.Shape{s.To - s.From, o.Cols}
		to := compute.Array{Spec: compute.Spec{Shape: shape, DType: o.Format.DType}, Data: out[i].Data[s.At*row : (s.At+s.To-s.From)*row]}
		d.convert(to, cutRows(in[0], s.From, s.To))
	}
	return nil
}

// storesEach is the fewest sequences worth a task that stores a few rows of each: their
// caches lie far apart, and none of the lines is at hand.
const storesEach = 4

// cutRows views rows [lo, hi).
func cutRows(a compute.Array, lo, hi int) compute.Array {
	row := a.Shape.Cols() * a.DType.Size()
	return compute.Array{Spec: compute.Spec{Shape: compute.Shape{hi - lo, a.Shape.Cols()}, DType: a.DType}, Data: a.Data[lo*row : hi*row]}
}

// cacheAttention is compute.CacheAttention. Sequences with few queries go together, so
// that there is work for all threads; one with many has enough for them alone.
func (d *Device) cacheAttention(o compute.CacheAttention, out, in []compute.Array) error {
	spans := compute.Spans(in[1])
	parts := len(compute.Weight{Format: o.Format}.Specs())
	if err := compute.CheckSpans(spans, in[0].Shape[0], func(i int) int { return in[2+2*i*parts].Shape[0] }); err != nil {
		return err
	}
	q, y, width := in[0].F32(), out[0].F32(), o.Heads*o.HeadDim
	var few []*chunked
	for i, s := range spans {
		a := &attend{Attention: o.Attention, kn: d.kernels, t: s.To - s.From, keys: s.Keys, group: o.Heads / o.KVHeads, q: q[s.From*width : s.To*width]}
		to := y[s.From*width : s.To*width]
		k, v := 2+2*i*parts, 2+(2*i+1)*parts
		if a.k.Array, a.v.Array = in[k], in[v]; o.Format.Kind == quant.Affine {
			a.k.quantized, a.v.quantized = o.Cache(in, i)
		}
		switch {
		case a.t == 0:
		case o.Format.DType == compute.BF16 && o.Format.Kind == quant.Dense: // which chunks do not read
			if err := d.attendSingly(a, to); err != nil {
				return err
			}
		case a.byChunks():
			few = append(few, &chunked{attend: a, y: to})
		default:
			if err := d.attendPanels(a, to, nil); err != nil {
				return err
			}
		}
	}
	if len(few) == 0 {
		return nil
	}
	return d.attendChunks(few)
}

// attendSingly is attendPanels that keeps to RowWise: each query goes by itself.
func (d *Device) attendSingly(a *attend, y []float32) error {
	if !a.RowWise {
		return d.attendPanels(a, y, nil)
	}
	width := a.Heads * a.HeadDim
	for i := range a.t {
		one := *a
		one.t, one.keys, one.q = 1, a.keys-a.t+i+1, a.q[i*width:(i+1)*width]
		if err := d.attendPanels(&one, y[i*width:(i+1)*width], nil); err != nil {
			return err
		}
	}
	return nil
}
