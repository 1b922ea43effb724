package cpu

import (
	"fmt"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

func TestQuantize64(t *testing.T) {
	for _, kn := range families() {
		t.Run(kn.name, func(t *testing.T) {
			for _, n := range []int{64, 192, 640} {
				x := random(newRand(11), compute.F32, n).F32()
				clear(x[32:64]) // a group without any magnitude
				out := func(k *kernels) ([]int8, []float32) {
					q, f := make([]int8, n), make([]float32, n/8+n/32)
					k.quantize64(q, f[:n/8], f[n/8:], x)
					return q, f
				}
				q, f := out(kn)
				qw, fw := out(generic)
				if fmt.Sprint(q) != fmt.Sprint(qw) || !(difference(f, fw) <= vectorTolerance) {
					t.Errorf("%d values: got %v %v, want %v %v", n, q, f, qw, fw)
				}
				kn.quantize32(q, f[:n/32], f[n/32:n/32*3], x)
				quantize32Generic(qw, fw[:n/32], fw[n/32:n/32*3], x)
				if fmt.Sprint(q) != fmt.Sprint(qw) || !(difference(f, fw) <= vectorTolerance) {
					t.Errorf("%d values in order: got %v %v, want %v %v", n, q, f, qw, fw)
				}
			}
		})
	}
}

func TestDots(t *testing.T) {
	for _, kn := range families() {
		t.Run(kn.name, func(t *testing.T) {
			r := newRand(12)
			for _, f := range formats() {
				for _, n := range []int{64, 192, 256, 320, 640, 768, 1344} {
					if n%f.RowMultiple() != 0 || f.Kind.IsFP() && kn.dotFP4 == nil {
						continue
					}
					const rows = 5
					_, data := randomWeight(r, f, rows, n)
					m := data[0].Matrix
					x := random(r, compute.F32, n).F32()
					got, want := make([]float32, rows), make([]float32, rows)
					q, scale, sum := make([]int8, n), make([]float32, n/32), make([]float32, n/16)
					quantize32Generic(q, scale, sum, x)
					switch f.Kind {
					case quant.Q4K:
						kn.dotQ4K(got, data[0].Data, q, scale, sum[:n/32]) // any sums will do
						dotQ4KGeneric(want, data[0].Data, q, scale, sum[:n/32])
					case quant.Q6K:
						kn.dotQ6K(got, data[0].Data, q, scale, sum)
						dotQ6KGeneric(want, data[0].Data, q, scale, sum)
					case quant.Dense:
						kn.dotDense(got, data[0].Data, x, f.DType)
						dotDenseGeneric(want, data[0].Data, x, f.DType)
					case quant.MXFP8:
						s := make([]float32, len(m.Scales), len(m.Scales)+8)
						e8m0Generic(s, m.Scales, 1)
						kn.dotFP8(got, data[0].Data, s, x)
						dotFP8Generic(want, data[0].Data, s, x)
					case quant.MXFP4, quant.NVFP4:
						s := make([]float32, len(m.Scales), len(m.Scales)+8)
						generic.fpScales(s, m.Scales, f, 0.5)
						scale, start, want32 := make([]float32, n/8), make([]int32, n/8), make([]int32, n/8)
						quantize64Generic(q, scale, sum, x)
						q[n-1] = -127
						kn.starts(start, q)
						startsGeneric(want32, q)
						if !slices.Equal(start, want32) {
							t.Errorf("starts of %d: %v, want %v", n, start, want32)
						}
						kn.dotFP4(got, data[0].Data, s, q, scale, start)
						dotFP4Generic(want, data[0].Data, s, q, scale, start)
					case quant.Affine:
						s, b := make([]float32, len(m.Scales)/f.DType.Size()), make([]float32, len(m.Biases)/f.DType.Size())
						quant.Floats(s, m.Scales, f.DType)
						quant.Floats(b, m.Biases, f.DType)
						w := append(data[0].Data, make([]byte, 8)...)[:len(data[0].Data)]
						kn.dotAffine(got, w, s, b, x, f.Bits)
						dotAffineGeneric(want, w, s, b, x, f.Bits)
						if f.Bits != 4 {
							break
						}
						q, scale, sum := make([]int8, n), make([]float32, n/8), make([]float32, n/32)
						quantize64Generic(q, scale, sum, x)
						sum = sum[:n/f.Group] // any numbers will do
						got8, want8 := make([]float32, rows), make([]float32, rows)
						kn.dotQ4(got8, w, s, b, q, scale, sum)
						dotQ4Generic(want8, w, s, b, q, scale, sum)
						got, want = append(got, got8...), append(want, want8...)
					}
					if diff := difference(got, want); !(diff <= sumTolerance) {
						t.Errorf("%v, rows of %d: off by %g", f, n, diff)
					}
				}
			}
		})
	}
}

func TestRows(t *testing.T) {
	for _, kn := range families() {
		t.Run(kn.name, func(t *testing.T) {
			r := newRand(14)
			for _, n := range []int{5, 8, 16, 24, 40, 64, 72, 128} {
				for _, rows := range []int{0, 1, 2, 4, 9} {
					ld := n + 3
					x, q, p := random(r, compute.F32, rows+1, ld).F32(), random(r, compute.F32, n).F32(), random(r, compute.F32, rows).F32()
					got, want := make([]float32, rows+n), make([]float32, rows+n)
					kn.dotRows(got[:rows], x, ld, q)
					kn.addRows(got[rows:], p, x, ld)
					dotRowsGeneric(want[:rows], x, ld, q)
					addRowsGeneric(want[rows:], p, x, ld)
					if diff := difference(got, want); !(diff <= vectorTolerance) {
						t.Errorf("%d rows of %d: off by %g", rows, n, diff)
					}
					halves := make([]byte, 2*len(x))
					quant.PutFloats(halves, x, quant.F16)
					halves = halves[:2*max(0, rows*ld-3)] // nothing lies behind the last row
					clear(got)
					clear(want)
					kn.dotHalves(got[:rows], halves, ld, q)
					kn.addHalves(got[rows:], p, halves, ld)
					dotHalvesGeneric(want[:rows], halves, ld, q)
					addHalvesGeneric(want[rows:], p, halves, ld)
					if diff := difference(got, want); !(diff <= vectorTolerance) {
						t.Errorf("%d rows of %d in half precision: off by %g", rows, n, diff)
					}
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, k := range families() {
		if k == generic {
			continue
		}
		d := newDevice(b, 0, k.name)
		r := newRand(13)
		for _, t := range []int{1, 4} {
			for _, f := range []quant.Format{
				{Kind: quant.Affine, DType: quant.BF16, Bits: 4, Group: 64}, {Kind: quant.Affine, DType: quant.F16, Bits: 4, Group: 32},
				{Kind: quant.Affine, DType: quant.BF16, Bits: 8, Group: 64}, {Kind: quant.Affine, DType: quant.BF16, Bits: 3, Group: 64},
				{Kind: quant.Dense, DType: quant.BF16}, {Kind: quant.Dense, DType: quant.F32}, {Kind: quant.Q4K}, {Kind: quant.Q6K},
			} {
				w, data := randomWeight(r, f, 14336, 4096)
				in := append([]compute.Array{random(r, compute.F32, t, 4096)}, data...)
				for _, exact := range []bool{false, true} {
					bench(b, d, fmt.Sprintf("%s/%v/T=%d/exact=%v", k.name, f, t, exact), compute.Linear{Weight: w, Exact: exact}, in)
				}
			}
		}
	}
}
