package cpu

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// vocabTolerance is for the gradient's sums over a quarter million words, which
// the definition adds up one by one in float32: 5e-4 is measured, a lost chunk
// gives 0.4.
const vocabTolerance = 2e-3

// The vocabulary is so large that the head's gradient takes two chunks of rows; the second
// is shorter.
func TestCrossEntropyOfManyWords(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 3))
	const vocab, width, n = logitsFloats/32 + 5, 4, 33
	w, head := randomWeight(r, quant.Format{Kind: quant.Dense, DType: quant.F32}, vocab, width)
	in := append([]compute.Array{random(r, compute.F32, n, width), random(r, compute.I32, n), random(r, compute.F32, n)}, head...)
	d := newDevice(t, 2, "")
	check(t, d, compute.CrossEntropy{Weight: w}, nil, in, vocabTolerance)
	check(t, d, compute.CrossEntropy{Weight: w, Grad: true}, nil, in, vocabTolerance)
	before := []compute.Array{random(r, compute.F32, n), random(r, compute.F32, n, width), random(r, compute.F32, vocab, width)}
	check(t, d, compute.CrossEntropy{Weight: w, Grad: true, GradWeight: true}, before, in, vocabTolerance)
}

// A row's loss and gradient do not depend on the rows beside it.
func TestCrossEntropyInChunks(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	const vocab, width, n = 1000, 64, 150
	w, head := randomWeight(r, quant.Format{Kind: quant.Affine, DType: quant.F16, Bits: 4, Group: 32}, vocab, width)
	d := newDevice(t, 2, "")
	e := entropy{m: w.Of(head[0]), parts: 3, h: random(r, compute.F32, n, width).F32(), weight: random(r, compute.F32, n).F32(),
		loss: make([]float32, n), dh: make([]float32, n*width)}
	for range n {
		e.targets = append(e.targets, r.Int32N(vocab))
	}
	run := func(most int) {
		if err := d.headEntropy(e, most); err != nil {
			t.Fatal(err)
		}
		d.scratch.release()
	}
	run(n)
	loss, dh := slices.Clone(e.loss), slices.Clone(e.dh)
	clear(e.loss)
	clear(e.dh)
	run(40)
	if !slices.Equal(loss, e.loss) || !slices.Equal(dh, e.dh) {
		t.Error("rows at a time change the results")
	}
}

// A target has probability 1 to within float32. Its tiny loss and gradient are still right.
func TestCrossEntropyOfACertainTarget(t *testing.T) {
	t.Parallel()
	d := newDevice(t, 2, "")
	const gap = 20 // between the logits
	w := compute.Weight{Format: quant.Format{Kind: quant.Dense, DType: quant.F32}, Rows: 2, Cols: 1}
	one := func(v float32) compute.Array {
		return compute.Array{Spec: compute.Spec{Shape: compute.Shape{1}, DType: compute.F32}, Data: compute.FloatBytes([]float32{v})}
	}
	h := one(1)
	h.Shape = compute.Shape{1, 1}
	head := compute.Array{Spec: w.Specs()[0], Data: compute.FloatBytes([]float32{gap, 0})}
	out := run(t, d, compute.CrossEntropy{Weight: w, Grad: true}, nil, []compute.Array{h, ints(0), one(1), head})
	p := math.Exp(-gap)
	for i, want := range []float64{p, -gap * p} { // to first order
		if got := float64(out[i].F32()[0]); !(math.Abs(got-want) < 1e-5*math.Abs(want)) {
			t.Errorf("output %d is %g, want %g", i, got, want)
		}
	}
}
