package quant

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
)

func TestToAffine(t *testing.T) {
	t.Parallel()
	const rows, cols = 5, 512
	random := rand.New(rand.NewPCG(4, 5))
	data := make([]byte, rows*cols/256*144)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	for at := 0; at < len(data); at += 144 {
		binary.LittleEndian.PutUint16(data[at:], F32ToF16(0.002))
		binary.LittleEndian.PutUint16(data[at+2:], F32ToF16(0.01))
	}
	m, err := FromBlocks(BlockQ4K, data, rows, cols)
	if err != nil {
		t.Fatal(err)
	}
	want := m.Floats()
	// Scales times 15 and biases, both below 2, rounded to 11 or 8 bits.
	for dtype, tolerance := range map[DType]float64{F32: 1e-7, F16: 2 * 2.0 / (1 << 11), BF16: 2 * 2.0 / (1 << 8)} {
		a, ok := m.ToAffine(dtype)
		if !ok {
			t.Fatalf("%v: not converted", dtype)
		}
		if err := a.Check(); err != nil {
			t.Fatal(err)
		}
		for i, v := range a.Floats() {
			if !(math.Abs(float64(v-want[i])) <= tolerance) {
				t.Fatalf("%v: weight %d is %g, was %g", dtype, i, v, want[i])
			}
		}
	}
	binary.LittleEndian.PutUint16(data[0:], F32ToF16(60000))
	if _, ok := m.ToAffine(F16); ok {
		t.Error("a scale beyond F16 was taken")
	}
	if _, ok := (&Matrix{Format: Format{Kind: Q6K}}).ToAffine(F16); ok {
		t.Error("Q6_K was taken")
	}
}
