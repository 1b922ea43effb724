package cpu

import (
	"fmt"
	"math"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// grain is the fewest elements worth a task of their own: about 10 µs of work.
const grain = 1 << 13

// fillWork is how many elements are filled in the time in which one is computed.
const fillWork = 4

// rowGrain is the fewest rows of so many elements worth a task.
func rowGrain(width int) int { return 1 + grain/max(width, 1) }

// columnGrain is the fewest columns of so many elements worth a task: no fewer than
// four cache lines.
func columnGrain(height int) int { return max(64, 1+grain/max(height, 1)) }

func (d *Device) add(o compute.Add, out, in []compute.Array) {
	y, a, b := out[0].F32(), in[0].F32(), in[1].F32()
	d.pool.split(len(y), grain, func(lo, hi int) { d.kernels.addScaled(y[lo:hi], a[lo:hi], o.Alpha, b[lo:hi]) })
}

func (d *Device) scale(o compute.Scale, out, in []compute.Array) {
	y, x := out[0].F32(), in[0].F32()
	d.pool.split(len(y), grain, func(lo, hi int) { d.kernels.scale(y[lo:hi], o.Alpha, x[lo:hi]) })
}

func (d *Device) fill(o compute.Fill, out []compute.Array) {
	y := out[0].F32()
	d.pool.split(len(y), fillWork*grain, func(lo, hi int) {
		if o.Value == 0 {
			clear(y[lo:hi])
			return
		}
		for i := lo; i < hi; i++ {
			y[i] = o.Value
		}
	})
}

func (d *Device) swiglu(out, in []compute.Array) {
	y, gate, up := out[0].F32(), in[0].F32(), in[1].F32()
	d.pool.split(len(y), grain, func(lo, hi int) { d.kernels.swiglu(y[lo:hi], gate[lo:hi], up[lo:hi]) })
}

func (d *Device) swigluGrad(out, in []compute.Array) {
	dgate, dup := out[0].F32(), out[1].F32()
	gate, up, dy := in[0].F32(), in[1].F32(), in[2].F32()
	d.pool.split(len(dy), grain, func(lo, hi int) {
		d.kernels.swigluGrad(dgate[lo:hi], dup[lo:hi], gate[lo:hi], up[lo:hi], dy[lo:hi])
	})
}

// convert rounds or widens src into dst, both of n elements; one side is F32.
func (d *Device) convert(dst, src compute.Array) {
	n, ds, ss := dst.Shape.Elems(), dst.DType.Size(), src.DType.Size()
	d.pool.split(n, grain, func(lo, hi int) {
		part := compute.Spec{Shape: compute.Shape{hi - lo}, DType: src.DType}
		to, from := dst.Data[lo*ds:hi*ds], compute.Array{Spec: part, Data: src.Data[lo*ss : hi*ss]}
		switch {
		case dst.DType == src.DType:
			copy(to, from.Data)
		case src.DType == quant.F32:
			d.kernels.narrow(to, from.F32(), dst.DType)
		case dst.DType == quant.F32:
			part.DType = quant.F32
			d.kernels.widen(compute.Array{Spec: part, Data: to}.F32(), from.Data, src.DType)
		default:
			part.DType = dst.DType
			compute.Array{Spec: part, Data: to}.SetFloats(from.Floats())
		}
	})
}

func (d *Device) copyRows(o compute.CopyRows, out, in []compute.Array) {
	from := o.Taken(in[0].Spec)
	to := compute.Spec{Shape: from.Shape, DType: o.To}
	d.convert(compute.Array{Spec: to, Data: out[0].Data[:to.Bytes()]}, compute.Array{Spec: from, Data: in[0].Data[:from.Bytes()]})
}

// inRange checks row numbers that come from outside.
func inRange(rows []int32, n int, what string) error {
	for i, r := range rows {
		if r < 0 || int(r) >= n {
			return fmt.Errorf("%s %d at position %d is not below %d", what, r, i, n)
		}
	}
	return nil
}

func (d *Device) gatherRows(out, in []compute.Array) error {
	x, y, w, rows := in[0].F32(), out[0].F32(), in[0].Shape[1], in[1].I32()
	if err := inRange(rows, in[0].Shape[0], "row"); err != nil {
		return err
	}
	d.pool.split(len(rows), rowGrain(w), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			copy(y[i*w:(i+1)*w], x[int(rows[i])*w:])
		}
	})
	return nil
}

func (d *Device) scatterRows(o compute.ScatterRows, out, in []compute.Array) error {
	if err := inRange(in[1].I32(), o.Rows, "row"); err != nil {
		return err
	}
	y := out[0].F32()
	d.pool.split(len(y), fillWork*grain, func(lo, hi int) { clear(y[lo:hi]) })
	d.addRows(y, in[0], in[1].I32())
	return nil
}

func (d *Device) embedGrad(o compute.EmbedGrad, out, in []compute.Array) error {
	if err := inRange(in[1].I32(), o.Rows, "token id"); err != nil {
		return err
	}
	d.addRows(out[0].F32(), in[0], in[1].I32())
	return nil
}

// addRows adds row i of dy to row rows[i] of y. Rows may repeat, so the work is
// cut by columns.
func (d *Device) addRows(y []float32, dy compute.Array, rows []int32) {
	w, src := dy.Shape[1], dy.F32()
	d.pool.split(w, columnGrain(len(rows)), func(lo, hi int) {
		for i, r := range rows {
			to := y[int(r)*w+lo : int(r)*w+hi]
			d.kernels.addScaled(to, to, 1, src[i*w+lo:i*w+hi])
		}
	})
}

func (d *Device) embed(o compute.Embed, out, in []compute.Array) error {
	m, y, ids := o.Weight.Of(in[1]), out[0].F32(), in[0].I32()
	for i, id := range ids {
		if int(id) >= m.Rows {
			return fmt.Errorf("token id %d at position %d is not below %d", id, i, m.Rows)
		}
	}
	each := spareFloats(m.Cols)
	tasks := 4 * d.pool.threads
	spare, err := d.scratch.floats(tasks * each)
	if err != nil {
		return err
	}
	d.pool.run(tasks, func(_, task int) {
		for t := task * len(ids) / tasks; t < (task+1)*len(ids)/tasks; t++ {
			row := y[t*m.Cols : (t+1)*m.Cols]
			if ids[t] < 0 {
				clear(row)
				continue
			}
			d.kernels.weightRow(row, m, int(ids[t]), 0, spare[task*each:])
		}
	})
	return nil
}

func (d *Device) sumRows(o compute.SumRows, out, in []compute.Array) {
	x, y, w, t := in[0].F32(), out[0].F32(), in[0].Shape[1], in[0].Shape[0]
	d.pool.split(w, columnGrain(t), func(lo, hi int) {
		sum := y[lo:hi]
		if !o.Accumulate {
			clear(sum)
		}
		for i := range t {
			d.kernels.addScaled(sum, sum, 1, x[i*w+lo:i*w+hi])
		}
	})
}

func (d *Device) sumSquares(o compute.SumSquares, out, in []compute.Array) {
	sum, y := d.squares(in[0].F32()), out[0].F32()
	if o.Accumulate {
		sum += float64(y[0])
	}
	y[0] = float32(sum)
}

func (d *Device) unitNorm(o compute.UnitNorm, out, in []compute.Array) {
	x, y := in[0].F32(), out[0].F32()
	by := 1 / o.Divisor(d.squares(x))
	d.pool.split(len(x), grain, func(lo, hi int) { d.kernels.scale(y[lo:hi], by, x[lo:hi]) })
}

// squares is Σ x².
func (d *Device) squares(x []float32) float64 {
	const part = 1 << 12 // short enough for float32, summed up in float64
	parts := blocksOf(len(x), part)
	sums := make([]float64, parts)
	d.pool.split(parts, grain/part, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			v := x[i*part : min((i+1)*part, len(x))]
			sums[i] = float64(d.kernels.dot(v, v))
		}
	})
	var sum float64
	for _, s := range sums {
		sum += s
	}
	return sum
}

func (d *Device) adam(o compute.Adam, out, in []compute.Array) {
	if compute.GivenUp(in[4], out, []compute.Array{in[0], in[2], in[3]}) {
		return
	}
	s := adamStep{eps: o.Eps}
	s.keep, s.lr, s.root = o.Factors(in[4])
	s.beta1, s.rest1, s.beta2, s.rest2 = o.Decays()
	p, g, m, v := in[0].F32(), in[1].F32(), in[2].F32(), in[3].F32()
	p2, m2, v2 := out[0].F32(), out[1].F32(), out[2].F32()
	d.pool.split(len(p), grain, func(lo, hi int) {
		d.kernels.adam(p2[lo:hi], m2[lo:hi], v2[lo:hi], p[lo:hi], g[lo:hi], m[lo:hi], v[lo:hi], &s)
	})
}

func (d *Device) rmsNorm(o compute.RMSNorm, out, in []compute.Array) {
	x, w, y := in[0].F32(), in[1].Floats(), out[0].F32()
	n := len(w)
	d.pool.split(len(x)/max(n, 1), rowGrain(n), func(lo, hi int) {
		for r := lo * n; r < hi*n; r += n {
			d.kernels.scaleMul(y[r:r+n], d.rstd(x[r:r+n], o.Eps), x[r:r+n], w)
		}
	})
}

// rstd is 1 / sqrt(mean(x²) + eps).
func (d *Device) rstd(x []float32, eps float32) float32 {
	mean := float64(d.kernels.dot(x, x)) / float64(len(x))
	return float32(1 / math.Sqrt(mean+float64(eps)))
}

func (d *Device) rmsNormGrad(o compute.RMSNormGrad, out, in []compute.Array) error {
	x, w, dy, dx := in[0].F32(), in[1].Floats(), in[2].F32(), out[0].F32()
	n := len(w)
	count := len(x) / max(n, 1)
	// The weight's gradient is summed up over parts of the rows, then over the parts.
	// The shape alone decides how many there are.
	const rowsPart = 64
	parts := blocksOf(count, rowsPart)
	var sums []float32
	if o.Weight {
		var err error
		if sums, err = d.scratch.floats(parts * n); err != nil {
			return err
		}
	}
	d.pool.run(parts, func(_, part int) {
		var sum []float32
		if o.Weight {
			sum = sums[part*n : (part+1)*n]
			clear(sum)
		}
		for r := part * rowsPart * n; r < min((part+1)*rowsPart, count)*n; r += n {
			xr, dyr := x[r:r+n], dy[r:r+n]
			inv := d.rstd(xr, o.Eps)
			mean := inv * inv * d.kernels.dot3(dyr, w, xr) / float32(n)
			if o.Weight {
				d.kernels.mulAdd(sum, inv, dyr, xr)
			}
			d.kernels.normGrad(dx[r:r+n], dyr, w, xr, inv, mean, o.Accumulate)
		}
	})
	for part := 0; o.Weight && part < parts; part++ {
		dw := out[1].F32()
		d.kernels.addScaled(dw, dw, 1, sums[part*n:(part+1)*n])
	}
	return nil
}

func (d *Device) rope(o compute.RoPE, out, in []compute.Array) {
	if o.Traditional {
		d.defineRows(o, out, in, []bool{true, true, true})
		return
	}
	x, cos, sin, y := in[0].F32(), in[1].F32(), in[2].F32(), out[0].F32()
	half, width := in[1].Shape[1], in[0].Shape[1]
	if o.Inverse { // (a, b) turned by -angle is (b, a) turned by angle
		o.Inverse = false
		d.eachHead(x, y, width, o.HeadDim, func(t int, xh, yh []float32) {
			c, s := cos[t*half:(t+1)*half], sin[t*half:(t+1)*half]
			d.kernels.rotate(yh[half:2*half], yh[:half], xh[half:2*half], xh[:half], c, s)
			copy(yh[2*half:], xh[2*half:])
		})
		return
	}
	d.eachHead(x, y, width, o.HeadDim, func(t int, xh, yh []float32) {
		c, s := cos[t*half:(t+1)*half], sin[t*half:(t+1)*half]
		d.kernels.rotate(yh[:half], yh[half:2*half], xh[:half], xh[half:2*half], c, s)
		copy(yh[2*half:], xh[2*half:])
	})
}

// eachHead calls do for every head of every token.
func (d *Device) eachHead(x, y []float32, width, headDim int, do func(t int, xh, yh []float32)) {
	d.pool.split(len(x)/max(width, 1), rowGrain(width), func(lo, hi int) {
		for t := lo; t < hi; t++ {
			for h := t * width; h < (t+1)*width; h += headDim {
				do(t, x[h:h+headDim], y[h:h+headDim])
			}
		}
	})
}

// defineParts runs the definition of an element-wise op on parts of the arrays. The
// inputs in whole go to every part.
func (d *Device) defineParts(op compute.Op, out, in []compute.Array, whole ...compute.Array) {
	d.pool.split(out[0].Shape.Elems(), grain, func(lo, hi int) {
		cut := func(all []compute.Array) []compute.Array {
			parts := make([]compute.Array, len(all))
			for i, a := range all {
				size := a.DType.Size()
				parts[i] = compute.Array{Spec: compute.Spec{Shape: compute.Shape{hi - lo}, DType: a.DType}, Data: a.Data[lo*size : hi*size]}
			}
			return parts
		}
		op.Define(cut(out), append(cut(in), whole...))
	})
}

// defineRows runs an op's definition on parts of the rows. All outputs and the inputs
// marked in byRow are cut, the other inputs go whole to every part.
func (d *Device) defineRows(op compute.Op, out, in []compute.Array, byRow []bool) {
	n := out[0].Shape[0]
	d.pool.split(n, rowGrain(out[0].Shape.Cols()), func(lo, hi int) {
		cut := func(a compute.Array) compute.Array {
			row := len(a.Data) / n
			shape := append(compute.Shape{hi - lo}, a.Shape[1:]...)
			return compute.Array{Spec: compute.Spec{Shape: shape, DType: a.DType}, Data: a.Data[lo*row : hi*row]}
		}
		outs, ins := make([]compute.Array, len(out)), make([]compute.Array, len(in))
		for i, a := range out {
			outs[i] = cut(a)
		}
		for i, a := range in {
			ins[i] = a
			if byRow[i] {
				ins[i] = cut(a)
			}
		}
		op.Define(outs, ins)
	})
}
