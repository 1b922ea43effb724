package cpu

import (
	"math"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// TestSmallFloats compares scales and rows with package quant for every byte,
// the NaNs too.
func TestSmallFloats(t *testing.T) {
	const n = 512
	for _, kn := range families() {
		t.Run(kn.name, func(t *testing.T) {
			for _, mode := range []string{"mxfp4", "nvfp4", "mxfp8"} {
				f, err := quant.ParseMode(mode)
				if err != nil {
					t.Fatal(err)
				}
				for first := range 256 {
					m := &quant.Matrix{Format: f, Rows: 1, Cols: n, Data: make([]byte, f.RowBytes(n)), Scales: make([]byte, n/f.Group)}
					for i := range m.Data {
						m.Data[i] = byte(i + first)
					}
					for i := range m.Scales {
						m.Scales[i] = byte(i*37 + first)
					}
					got := make([]float32, n)
					kn.weightRow(got, m, 0, 0, make([]float32, spareFloats(n)))
					for i, want := range m.Floats() {
						if got[i] != want && !(math.IsNaN(float64(got[i])) && math.IsNaN(float64(want))) {
							t.Fatalf("%s, bytes from %d: weight %d is %g, want %g", mode, first, i, got[i], want)
						}
					}
				}
			}
		})
	}
}

// TestPoison demands that a NaN among the weights of a row reaches its product and no
// other.
func TestPoison(t *testing.T) {
	f, err := quant.ParseMode("mxfp8")
	if err != nil {
		t.Fatal(err)
	}
	eachFamily(t, func(t *testing.T, d *Device) {
		const rows, cols = 5, 96
		r := newRand(29)
		w, data := randomWeight(r, f, rows, cols)
		data[0].Data[1*cols+95], data[0].Data[3*cols] = 0x7f, 0xff
		x := random(r, compute.F32, 1, cols)
		y := run(t, d, compute.Linear{Weight: w}, nil, append([]compute.Array{x}, data...))[0].F32()
		for i, v := range y {
			if math.IsNaN(float64(v)) != (i == 1 || i == 3) {
				t.Errorf("row %d: %g", i, v)
			}
		}
	})
}
