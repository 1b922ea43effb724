package cpu

import (
	"math/rand/v2"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// vocabTolerance is for the gradient's sums over a quarter million words, which
// the definition adds up one by one in float32: 5e-4 is measured, a lost chunk
// gives 0.4.
const vocabTolerance = 2e-3

// A vocabulary so large that the rows go through the head in two chunks, the
// second of them shorter.
func TestCrossEntropyInChunks(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 3))
	const vocab, width, n = logitsFloats/32 + 5, 4, 33
	w, head := randomWeight(r, quant.Format{Kind: quant.Dense, DType: quant.F32}, vocab, width)
	in := append([]compute.Array{random(r, compute.F32, n, width), random(r, compute.I32, n), random(r, compute.F32, n)}, head...)
	d := newDevice(t, 2, "")
	check(t, d, compute.CrossEntropy{Weight: w}, nil, in, vocabTolerance)
	check(t, d, compute.CrossEntropy{Weight: w, Grad: true}, nil, in, vocabTolerance)
}
