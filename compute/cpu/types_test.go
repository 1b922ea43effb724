package cpu

import (
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// TestHalfActivations: ops on activations of 16 bits, for which there are no kernels, run
// by their definition.
func TestHalfActivations(t *testing.T) {
	d, r := newDevice(t, 2, ""), newRand(3)
	w, data := randomWeight(r, quant.Format{Kind: quant.Dense, DType: quant.F32}, 3, 8)
	x, y := random(r, compute.BF16, 5, 8), random(r, compute.BF16, 5, 8)
	for _, c := range []struct {
		op compute.Op
		in []compute.Array
	}{
		{compute.Linear{Weight: w, To: compute.BF16}, []compute.Array{x, data[0]}},
		{compute.Linear{Weight: w}, []compute.Array{x, data[0]}},
		{compute.Embed{Weight: w, To: compute.BF16}, []compute.Array{ints(2, 0), data[0]}},
		{compute.MatMul{TransB: true, Alpha: 1}, []compute.Array{x, y}},
		{compute.SwiGLU{}, []compute.Array{x, y}},
		{compute.RMSNormGrad{Eps: 1}, []compute.Array{x, random(r, compute.F32, 8), y}},
		{compute.Attention{Heads: 2, KVHeads: 2, HeadDim: 4, Scale: 1}, []compute.Array{x, x, y, ints(0, 5)}},
	} {
		check(t, d, c.op, nil, c.in, 0)
	}
}
