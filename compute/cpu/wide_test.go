package cpu

import (
	"math"
	"testing"
)

// TestDotWide: for all numbers of rows of x, and odd numbers of rows of the weight, the sums
// are those of the definition, and stay within their places.
func TestDotWide(t *testing.T) {
	r := newRand(37)
	for _, kn := range families() {
		if kn.dotWide == nil {
			continue
		}
		for _, n := range []int{32, 96, 576} {
			for rows := 1; rows <= 9; rows++ {
				for weights := 1; weights <= 3; weights++ {
					const ldy = 5
					w, x := make([]float32, weights*n), make([]float32, rows*n)
					for _, v := range [][]float32{w, x} {
						for i := range v {
							v[i] = float32(r.NormFloat64())
						}
					}
					got, want := make([]float32, rows*ldy), make([]float32, rows*ldy)
					for i := range got {
						got[i], want[i] = float32(math.Inf(1)), float32(math.Inf(1))
					}
					kn.dotWide(got, ldy, w, x, n, rows)
					dotWideGeneric(want, ldy, w, x, n, rows)
					for i := range got {
						if i%ldy >= weights {
							if !math.IsInf(float64(got[i]), 1) {
								t.Fatalf("%s: %d by %d rows of %d: place %d is written", kn.name, rows, weights, n, i)
							}
							got[i], want[i] = 0, 0
						}
					}
					if diff := difference(got, want); !(diff <= sumTolerance) {
						t.Errorf("%s: %d by %d rows of %d are off by %g", kn.name, rows, weights, n, diff)
					}
				}
			}
		}
	}
}
