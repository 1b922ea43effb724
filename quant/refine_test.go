package quant

import (
	"math/rand/v2"
	"testing"
)

// TestRefine: the values of a matrix survive refining exactly, and small changes survive with enough bits.
func TestRefine(t *testing.T) {
	t.Parallel()
	const rows, cols = 5, 128
	r := rand.New(rand.NewPCG(1, 2))
	w := make([]float32, rows*cols)
	for i := range w {
		w[i] = float32(r.NormFloat64())
	}
	for _, bits := range []int{2, 3, 4, 5, 6, 8} {
		m, err := QuantizeAffine(w, rows, cols, bits, 32, F16, RuleMetal)
		if err != nil {
			t.Fatal(err)
		}
		base := m.Floats()
		for _, more := range []int{2, 3, 4, 5, 6, 8} {
			got, err := m.Refine(base, more)
			if more < bits {
				if err == nil {
					t.Errorf("%d bits refined by %d: no error", bits, more)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := got.Check(); err != nil {
				t.Fatal(err)
			}
			for i, v := range got.Floats() {
				if v != base[i] {
					t.Fatalf("%d to %d bits: weight %d was %g and is %g", bits, more, i, base[i], v)
				}
			}
		}
	}
	m, _ := QuantizeAffine(w, rows, cols, 4, 32, F32, RuleMetal)
	fine, err := m.Refine(w, 8)
	if err != nil {
		t.Fatal(err)
	}
	var was, is float64 // squared errors
	base := m.Floats()
	for i, v := range fine.Floats() {
		was += float64(base[i]-w[i]) * float64(base[i]-w[i])
		is += float64(v-w[i]) * float64(v-w[i])
	}
	const gain = 100 // 4 bits more are 256 times less squared error, but for clamped weights
	if is*gain > was {
		t.Errorf("squared error %g with 8 bits, %g with 4", is, was)
	}
}
