//go:build !purego

package cpu

import (
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// TestDotVariants checks the integer products without and with the dot product
// instructions, one of which the family neon does not use on this machine.
func TestDotVariants(t *testing.T) {
	for name, k := range map[string]*dotKernels{"plain": &neonDots, "dotprod": &dotProdDots} {
		t.Run(name, func(t *testing.T) {
			if name == "dotprod" && !hasDotProd {
				t.Skip("this processor has no dot product instructions")
			}
			r := newRand(15)
			const rows = 3
			for _, n := range []int{256, 768, 1280} {
				x := random(r, compute.F32, n).F32()
				got, want := make([]float32, 3*rows), make([]float32, 3*rows)
				q, scale, sum := make([]int8, n), make([]float32, n/32), make([]float32, n/16)
				quantize32Generic(q, scale, sum, x)
				var four []float32 // each scale four times
				for _, v := range scale {
					four = append(four, v, v, v, v)
				}
				for i := range 2 { // the second time the largest values there are, against overflow
					_, q4 := randomWeight(r, quant.Format{Kind: quant.Q4K}, rows, n)
					_, q6 := randomWeight(r, quant.Format{Kind: quant.Q6K}, rows, n)
					affine, a := randomWeight(r, quant.Format{Kind: quant.Affine, DType: quant.F32, Bits: 4, Group: 64}, rows, n)
					m := affine.Of(a[0])
					scales, biases := make([]float32, rows*n/64), make([]float32, rows*n/64)
					quant.Floats(scales, m.Scales, quant.F32)
					quant.Floats(biases, m.Biases, quant.F32)
					if i == 1 {
						for j := range q {
							q[j] = int8(127 - j/16%2*254)
						}
						for j := range m.Data {
							m.Data[j] = 0xff
						}
						for b := 0; b < len(q6[0].Data); b += bytesQ6K {
							for j := range 192 {
								q6[0].Data[b+j] = byte(j/64%2) * 0xff
							}
						}
					}
					for v, out := range map[*dotKernels][]float32{k: got, &genericDots: want} {
						v.dotQ4K(out[:rows], q4[0].Data, q, scale, sum[:n/32])
						v.dotQ6K(out[rows:2*rows], q6[0].Data, q, scale, sum)
						v.dotQ4(out[2*rows:], m.Data, scales, biases, q, four, sum[:n/64])
					}
					if diff := difference(got, want); !(diff <= sumTolerance) {
						t.Errorf("rows of %d: off by %g: got %v, want %v", n, diff, got, want)
					}
				}
			}
		})
	}
}
