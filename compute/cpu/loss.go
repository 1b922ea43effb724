package cpu

import (
	"math"

	"github.com/lentil-lm/lentil/compute"
)

// logitsFloats bounds the float32 logits that exist at once. Rows of h go
// through the head in chunks of that many; the weight is unpacked once a chunk.
const logitsFloats = 8 << 20

// crossEntropy is compute.CrossEntropy.
func (d *Device) crossEntropy(o compute.CrossEntropy, out, in []compute.Array) error {
	m := o.Weight.Matrix(in[3:])
	h, targets, weight, loss := in[0].F32(), in[1].I32(), in[2].F32(), out[0].F32()
	if err := inRange(targets, m.Rows, "target"); err != nil {
		return err
	}
	n := len(loss)
	if n == 0 {
		return nil
	}
	step := min(max(logitsFloats/m.Rows, 32), n)
	step = (n + (n+step-1)/step - 1) / ((n + step - 1) / step) // chunks of equal size
	logits, err := d.scratch.floats(step * m.Rows)
	if err != nil {
		return err
	}
	for r := 0; r < n; r += step {
		c := min(step, n-r)
		logits := logits[:c*m.Rows] // the last chunk may be shorter
		hc := rows{h[r*m.Cols : (r+c)*m.Cols], m.Cols}
		if err := d.gemm(product{m: c, n: m.Rows, k: m.Cols, a: hc, b: weightRowsOf(m), c: logits, ldc: m.Rows}); err != nil {
			return err
		}
		d.softmaxLoss(loss[r:r+c], logits, logits, targets[r:r+c], weight[r:r+c], o.Grad)
		if !o.Grad {
			continue
		}
		g := rows{logits, m.Rows}
		if err := d.gemm(product{m: c, n: m.Cols, k: m.Rows, a: g, b: weightColsOf(m), c: out[1].F32()[r*m.Cols:], ldc: m.Cols}); err != nil {
			return err
		}
		if !o.GradWeight {
			continue
		}
		if err := d.gemm(product{m: m.Rows, n: m.Cols, k: c, a: cols(g), b: cols(hc), c: out[2].F32(), ldc: m.Cols, add: true}); err != nil {
			return err
		}
	}
	return nil
}

// crossEntropyLogits is compute.CrossEntropyLogits.
func (d *Device) crossEntropyLogits(out, in []compute.Array) error {
	if err := inRange(in[1].I32(), in[0].Shape[1], "target"); err != nil {
		return err
	}
	d.softmaxLoss(out[0].F32(), out[1].F32(), in[0].F32(), in[1].I32(), in[2].F32(), true)
	return nil
}

// softmaxLoss computes the loss of each row of logits and, when asked to, its
// gradient; grad, which may be logits, is overwritten in any case.
func (d *Device) softmaxLoss(loss, grad, logits []float32, targets []int32, weight []float32, wantGrad bool) {
	n := len(loss)
	if n == 0 {
		return
	}
	v := len(logits) / n
	// The sums are taken in parts and these in float64, as a vocabulary is long.
	const part = 1 << 12
	d.pool.run(n, func(_, r int) {
		x, g := logits[r*v:(r+1)*v], grad[r*v:(r+1)*v]
		top := d.kernels.max(x)
		picked := float64(x[targets[r]])
		var sum float64
		for i := 0; i < v; i += part {
			j := min(i+part, v)
			sum += float64(d.kernels.expSum(g[i:j], x[i:j], top, 1))
		}
		loss[r] = float32(float64(top) + math.Log(sum) - picked)
		if wantGrad {
			d.kernels.scale(g, float32(float64(weight[r])/sum), g)
			g[targets[r]] -= weight[r]
		}
	})
}
