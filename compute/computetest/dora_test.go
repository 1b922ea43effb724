package computetest

import (
	"fmt"
	"math"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

func doraPairs(t *testing.T) []pair {
	const rows, cols = 5, 7
	g := newGen("magnitude")
	norm := g.positive(cols)
	for i := range norm.F32() {
		norm.F32()[i] += 0.5
	}
	norm.F32()[3] = 0
	return []pair{{
		name: "magnitude", x: []compute.Array{g.normal(rows, cols), g.normal(cols)},
		reference: func(x []floats64) floats64 {
			y := make(floats64, rows*cols)
			for i, v := range x[0] {
				if length := float64(norm.F32()[i%cols]); length > 0 {
					y[i] = v * x[1][i%cols] / length
				}
			}
			return y
		},
		forward: func(x []compute.Array) compute.Array {
			return define(t, compute.Magnitude{}, x[0], x[1], norm)[0]
		},
		backward: func(x []compute.Array, _, dy compute.Array) []compute.Array {
			return define(t, compute.MagnitudeGrad{}, x[0], x[1], norm, dy)
		},
	}}
}

// The norm computed from W A, AᵀA and ‖W‖² is that of the whole matrix.
func TestUpdatedNorm(t *testing.T) {
	// Float32 sums over the columns. Their largest part is ‖W‖² itself, and the root
	// halves the relative error.
	for _, f := range []quant.Format{dense(compute.F32), affine(4, 64, compute.BF16), fp("mxfp4"), {Kind: quant.Q6K}} {
		for _, size := range []float64{0, 1e-3, 0.1, 3} { // of the update beside the weight
			t.Run(fmt.Sprintf("%v %g", f, size), func(t *testing.T) {
				g := newGen(f.String())
				w := compute.Weight{Format: f, Rows: 11, Cols: 512}
				const rank, scale = 5, float32(-2)
				weight := g.weight(w)
				a, b := g.normal(w.Cols, rank), g.floats(compute.F32, 0.01*size, rank, w.Rows)
				eye := zeros(spec(compute.F32, rank, rank))
				for i := range rank {
					eye.F32()[i*rank+i] = 1
				}
				at := define(t, compute.MatMul{TransB: true, Alpha: 1}, eye, a)[0]
				c := define(t, compute.Linear{Weight: w, Exact: true}, at, weight)[0]
				gram := define(t, compute.MatMul{TransA: true, Alpha: 1}, a, a)[0]
				compute.MatMul{Alpha: scale / 2, Accumulate: true}.Define([]compute.Array{c}, []compute.Array{gram, b})
				squares := define(t, compute.RowSquares{Weight: w}, weight)[0]
				got := define(t, compute.UpdatedNorm{Scale: scale}, squares, b, c)[0].F32()

				whole := w.Of(weight).Floats()
				for r := range w.Rows {
					var sum, base float64
					for i := range w.Cols {
						v := float64(whole[r*w.Cols+i])
						base += v * v
						for k := range rank {
							v += float64(scale) * float64(a.F32()[i*rank+k]) * float64(b.F32()[k*w.Rows+r])
						}
						sum += v * v
					}
					// Parts as large as ‖W‖² or ‖V‖² may cancel.
					want := math.Sqrt(sum)
					limit := float64(summed(w.Cols)) * max(base, sum) / want
					if !(math.Abs(float64(got[r])-want) <= limit) {
						t.Errorf("row %d: norm %.9g, the matrix has %.9g, allowed %.2g", r, got[r], want, limit)
					}
				}
			})
		}
	}
}
