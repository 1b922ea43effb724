package cpu

import (
	"fmt"
	"math"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// checkRow demands that row i of got is, to the bit, the one row of want.
func checkRow(t *testing.T, what string, got compute.Array, i int, want compute.Array) {
	t.Helper()
	a, b := rowOf(got, i).F32(), want.F32()
	for j := range b {
		if math.Float32bits(a[j]) != math.Float32bits(b[j]) {
			t.Errorf("%s: row %d of %d, value %d is %g, alone it is %g", what, i, got.Shape[0], j, a[j], b[j])
			return
		}
	}
}

// TestRowWise runs rows together and each alone: the bits are the same.
func TestRowWise(t *testing.T) {
	eachFamily(t, func(t *testing.T, d *Device) {
		r := newRand(31)
		for i, f := range formats() {
			for j, tokens := range []int{2, 3, 4, 5, 8, 9, 17} {
				rows, cols := []int{37, 64, 100}[(i+j)%3], []int{256, 768, 1536}[(i+j)%3]
				w, data := randomWeight(r, f, rows, cols)
				in := append([]compute.Array{random(r, compute.F32, tokens, cols)}, data...)
				op := compute.Linear{Weight: w, Bias: i%2 == 0, Exact: j%2 == i%2}
				if op.Bias {
					in = append(in, random(r, compute.F32, rows))
				}
				if (i+j)%3 == 0 {
					op.Rank, op.Scale = 4*(1+j%2), 0.5
					in = append(in, random(r, compute.F32, tokens, op.Rank), random(r, compute.F32, op.Rank, rows))
				}
				op.RowWise = true
				got := run(t, d, op, nil, in)[0]
				op.RowWise = false
				for k := range tokens {
					one := append([]compute.Array{rowOf(in[0], k)}, in[1:]...)
					if op.Rank > 0 {
						one[len(one)-2] = rowOf(one[len(one)-2], k)
					}
					checkRow(t, f.String(), got, k, run(t, d, op, nil, one)[0])
				}
			}
		}
	})
}

// TestRowWisePacked does so for packed 4-bit weights, with every number of rows of x, odd
// numbers and lengths of rows of the weight, and lengths that go in parts.
func TestRowWisePacked(t *testing.T) {
	eachFamily(t, func(t *testing.T, d *Device) {
		r := newRand(35)
		for i, f := range formats() {
			if !isFP4(f) && (f.Kind != quant.Affine || f.Bits != 4) {
				continue
			}
			for j, cols := range []int{64, 128, 192, 320, 448, 512, 576, 896, 2624, 4096, 8256} {
				if cols%f.Group != 0 {
					continue
				}
				w, data := randomWeight(r, f, []int{1, 2, 15, 16, 17, 33}[(i+j)%6], cols)
				for tokens := 2; tokens <= 9; tokens++ {
					if cols > 1024 && tokens%3 != 2 {
						continue
					}
					op := compute.Linear{Weight: w, RowWise: true}
					in := append([]compute.Array{random(r, compute.F32, tokens, cols)}, data...)
					got := run(t, d, op, nil, in)[0]
					for k := range tokens {
						one := append([]compute.Array{rowOf(in[0], k)}, data...)
						checkRow(t, fmt.Sprintf("%v, %d values", f, cols), got, k, run(t, d, compute.Linear{Weight: w}, nil, one)[0])
					}
					if d.kernels.rowwise == nil {
						continue
					}
					kernels, plain := d.kernels, *d.kernels
					plain.rowwise = rowwiseGeneric
					d.kernels = &plain
					want := run(t, d, op, nil, in)[0]
					d.kernels = kernels
					if diff := difference(got.F32(), want.F32()); !(diff <= sumTolerance) {
						t.Errorf("%v, %d rows of %d values: off by %g", f, tokens, cols, diff)
					}
				}
			}
		}
	})
}

// TestRowWiseUpdate is for the products of a low-rank update.
func TestRowWiseUpdate(t *testing.T) {
	eachFamily(t, func(t *testing.T, d *Device) {
		r := newRand(33)
		for _, rank := range []int{1, 4, 8, 16, 64} {
			a := random(r, compute.F32, 576, rank)
			for _, tokens := range []int{2, 3, 4, 7, 8, 9, 16, 17, 40} {
				x := random(r, compute.F32, tokens, 576)
				got := run(t, d, compute.MatMul{Alpha: 1, RowWise: true}, nil, []compute.Array{x, a})[0]
				for i := range tokens {
					checkRow(t, "update", got, i, run(t, d, compute.MatMul{Alpha: 1}, nil, []compute.Array{rowOf(x, i), a})[0])
				}
			}
		}
	})
}

// TestRowWiseAdapters: a row of an adapter's in a pass of several adapters has the bits of
// a Linear with this adapter's update, alone.
func TestRowWiseAdapters(t *testing.T) {
	eachFamily(t, func(t *testing.T, d *Device) {
		r := newRand(36)
		for _, ranks := range [][]int{{8, 8, 16}, {4, 64, 1}} {
			const cols, rows, tokens = 512, 96, 12
			w, data := randomWeight(r, quant.Format{Kind: quant.Affine, DType: quant.F16, Bits: 4, Group: 64}, rows, cols)
			x, bias := random(r, compute.F32, tokens, cols), random(r, compute.F32, rows)
			at := []int32{0, 1, 2, 9, 9, 12}
			op := compute.LowRankRows{RowWise: true}
			in := []compute.Array{x, {Spec: compute.Spec{Shape: compute.Shape{3, 2}, DType: compute.I32}, Data: compute.IntBytes(at)}}
			for i, rank := range ranks {
				op.Scales = append(op.Scales, 0.5+float32(i))
				in = append(in, random(r, compute.F32, cols, rank), random(r, compute.F32, rank, rows))
			}
			got := run(t, d, compute.Linear{Weight: w, Bias: true, RowWise: true}, nil, append(append([]compute.Array{x}, data...), bias))
			got = run(t, d, op, got, in)
			for k := range tokens {
				one, linear := append([]compute.Array{rowOf(x, k)}, data...), compute.Linear{Weight: w, Bias: true}
				one = append(one, bias)
				for i, rank := range ranks {
					if int32(k) >= at[2*i] && int32(k) < at[2*i+1] {
						z := run(t, d, compute.MatMul{Alpha: 1}, nil, []compute.Array{rowOf(x, k), in[2+2*i]})[0]
						linear.Rank, linear.Scale, one = rank, op.Scales[i], append(one, z, in[3+2*i])
					}
				}
				checkRow(t, fmt.Sprint("adapters of ranks ", ranks), got[0], k, run(t, d, linear, nil, one)[0])
			}
		}
	})
}

// TestRowWiseElements: ops that work element by element or row by row are always row-wise,
// wherever the cuts between workers and the ends of vectors are.
func TestRowWiseElements(t *testing.T) {
	eachFamily(t, func(t *testing.T, d *Device) {
		r := newRand(34)
		for _, width := range []int{20, 28, 36, 60, 64, 100, 148, 252, 576, 748, 1500, 4864} {
			for _, tokens := range []int{2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13} { // last bits differ seldom, so many
				x, y, w := random(r, compute.F32, tokens, width), random(r, compute.F32, tokens, width), random(r, compute.F32, width)
				angles := random(r, compute.F32, tokens, 2)
				for _, c := range []struct {
					op     compute.Op
					in     []compute.Array
					shared int // inputs, the last, that all rows share
				}{
					{compute.SwiGLU{}, []compute.Array{x, y}, 0},
					{compute.Add{Alpha: 1}, []compute.Array{x, y}, 0},
					{compute.Add{Alpha: 0.3}, []compute.Array{x, y}, 0},
					{compute.RMSNorm{Eps: 1e-5}, []compute.Array{x, w}, 1},
					{compute.Magnitude{Bias: true}, []compute.Array{x, w, {Spec: w.Spec, Data: y.Data[:len(w.Data)]}, w}, 3},
					{compute.RoPE{HeadDim: 4}, []compute.Array{x, angles, angles}, 0},
				} {
					got := run(t, d, c.op, nil, c.in)[0]
					for i := range tokens {
						var one []compute.Array
						for j, a := range c.in {
							if j < len(c.in)-c.shared {
								a = rowOf(a, i)
							}
							one = append(one, a)
						}
						checkRow(t, c.op.Name(), got, i, run(t, d, c.op, nil, one)[0])
					}
				}
			}
		}
	})
}
