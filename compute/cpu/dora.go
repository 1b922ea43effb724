package cpu

import (
	"math"

	"github.com/lentil-lm/lentil/compute"
)

// rowSquares sums up stretches of a row in float32, and these in float64.
func (d *Device) rowSquares(o compute.RowSquares, out, in []compute.Array) error {
	const stretch = 256 // short enough for float32
	m, y := o.Weight.Of(in[0]), out[0].F32()
	each := m.Cols + spareFloats(m.Cols)
	tasks := min(tasksEach*d.pool.threads, m.Rows)
	spare, err := d.scratch.floats(tasks * each)
	if err != nil {
		return err
	}
	d.pool.run(tasks, func(_, task int) {
		row, rest := spare[task*each:task*each+m.Cols], spare[task*each+m.Cols:(task+1)*each]
		for r := task * m.Rows / tasks; r < (task+1)*m.Rows/tasks; r++ {
			d.kernels.weightRow(row, m, r, 0, rest)
			var sum float64
			for at := 0; at < m.Cols; at += stretch {
				v := row[at:min(at+stretch, m.Cols)]
				sum += float64(d.kernels.dot(v, v))
			}
			y[r] = float32(sum)
		}
	})
	return nil
}

func (d *Device) updatedNorm(o compute.UpdatedNorm, out, in []compute.Array) {
	b, c, y := in[1].F32(), in[2].F32(), out[0].F32()
	n, rank := len(y), in[1].Shape[0]
	d.pool.split(n, columnGrain(rank), func(lo, hi int) {
		part := y[lo:hi]
		copy(part, in[0].F32()[lo:hi])
		for k := range rank {
			d.kernels.mulAdd(part, 2*o.Scale, b[k*n+lo:k*n+hi], c[k*n+lo:k*n+hi])
		}
		for i, v := range part {
			part[i] = float32(math.Sqrt(float64(max(v, 0))))
		}
	})
}

// gains lends what columns are multiplied with: m/norm, see compute.Gain.
func (d *Device) gains(m, norm []float32) ([]float32, error) {
	g, err := d.scratch.floats(len(m))
	for i := range g {
		g[i] = compute.Gain(m[i], norm[i])
	}
	return g, err
}

func (d *Device) magnitude(o compute.Magnitude, out, in []compute.Array) error {
	x, y, n := in[0].F32(), out[0].F32(), in[0].Shape[1]
	gain, err := d.gains(in[1].F32(), in[2].F32())
	if err != nil {
		return err
	}
	var bias []float32
	if o.Bias {
		bias = in[3].Floats()
	}
	d.pool.split(in[0].Shape[0], rowGrain(n), func(lo, hi int) {
		for r := lo * n; r < hi*n; r += n {
			d.kernels.scaleMul(y[r:r+n], 1, x[r:r+n], gain)
			if bias != nil {
				d.kernels.addScaled(y[r:r+n], y[r:r+n], 1, bias)
			}
		}
	})
	return nil
}

// magnitudeGrad is compute.MagnitudeGrad. The work is cut by columns; each is summed up
// in the order of the rows.
func (d *Device) magnitudeGrad(out, in []compute.Array) error {
	x, norm, dy := in[0].F32(), in[2].F32(), in[3].F32()
	dx, dm, t, n := out[0].F32(), out[1].F32(), in[0].Shape[0], in[0].Shape[1]
	gain, err := d.gains(in[1].F32(), norm)
	if err != nil {
		return err
	}
	sums, err := d.scratch.floats(n)
	if err != nil {
		return err
	}
	d.pool.split(n, columnGrain(t), func(lo, hi int) {
		sum := sums[lo:hi]
		clear(sum)
		for i := lo; i < t*n; i += n {
			part := dy[i : i+hi-lo]
			d.kernels.mulAdd(sum, 1, part, x[i:i+hi-lo])
			d.kernels.scaleMul(dx[i:i+hi-lo], 1, part, gain[lo:hi])
		}
		for i, s := range sum {
			dm[lo+i] += compute.Gain(s, norm[lo+i])
		}
	})
	return nil
}
