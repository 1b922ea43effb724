package cpu

import (
	"fmt"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

func TestTile8(t *testing.T) {
	for _, kn := range families() {
		k := kn.bytes
		if k.tileRows == 0 {
			continue
		}
		t.Run(kn.name, func(t *testing.T) {
			r := newRand(15)
			for rows := 2; rows <= k.tileRows; rows += 2 {
				for _, size := range [][3]int{{1, 1, 1}, {3, 1, 2}, {2, 2, 2}, {5, 4, 2}, {4, 1, 1}} { // groups, runs, pieces
					runs := size[0] * size[1]
					depth := runs * size[2] * piece
					x, w := make([]int8, depth*rows), make([]byte, depth*k.tileCols)
					for i := range x {
						x[i] = int8(r.IntN(255) - 127)
					}
					for i := range w {
						w[i] = byte(r.IntN(k.maxCode + 1))
					}
					for i := range 8 * k.tileCols { // the largest sums there may be
						x[i%rows*piece+i/rows%4], w[i] = 127, byte(k.maxCode)
					}
					scale, sum := random(r, compute.F32, runs, rows).F32(), random(r, compute.F32, size[0], rows).F32()
					ws, wb := random(r, compute.F32, size[0], k.tileCols).F32(), random(r, compute.F32, size[0], k.tileCols).F32()
					ldc := k.tileCols + 3
					got := random(r, compute.F32, rows, ldc).F32()
					want := append([]float32(nil), got...)
					start := make([]int32, runs*rows)
					for i := range start {
						start[i] = r.Int32N(1<<16) - 1<<15
					}
					for i := range 4 {
						tile := byteTile{x: &x[0], scale: &scale[0], sum: &sum[0], w: &w[0], ws: &ws[0], wb: &wb[0], c: &got[0], ldc: ldc,
							groups: size[0], runs: size[1], pieces: size[2], add: i%2 > 0}
						if i >= 2 {
							tile.sum, tile.wb, tile.start = nil, nil, &start[0]
						}
						k.tile(rows, &tile)
						tile.c = &want[0]
						tile8Generic(rows, k.tileCols, &tile)
						if diff := difference(got, want); !(diff <= sumTolerance) {
							t.Errorf("%d rows, size %v, add %v, start %v: off by %g", rows, size, tile.add, i >= 2, diff)
						}
					}
				}
			}
		})
	}
}

func TestUnpack(t *testing.T) {
	const ld, stride = 600, 96 // a row has four super-blocks
	src := make([]byte, 8*ld)
	r := newRand(16)
	for i := range src {
		src[i] = byte(r.Uint32())
	}
	for _, kn := range families() {
		k := kn.bytes
		if k.tileRows == 0 {
			continue
		}
		t.Run(kn.name, func(t *testing.T) {
			check := func(what string, run func(k *byteKernels, dst []byte)) {
				got, want := make([]byte, 256*stride), make([]byte, 256*stride)
				run(&k, got)
				run(&generic.bytes, want)
				if string(got) != string(want) {
					t.Errorf("%s: got %v, want %v", what, got, want)
				}
			}
			for runs := 1; runs < 5; runs++ {
				check(fmt.Sprintf("%d runs of nibbles", runs), func(k *byteKernels, dst []byte) { k.nibbles(dst, stride, src, ld, 64, runs) })
				check(fmt.Sprintf("%d super-blocks", runs), func(k *byteKernels, dst []byte) { k.nibblesQ4K(dst, stride, src, ld, 64, runs) })
				check(fmt.Sprintf("%d runs of E2M1", runs), func(k *byteKernels, dst []byte) { k.nibblesFP4(dst, stride, src, ld, 64, runs) })
				check(fmt.Sprintf("%d runs of bytes", runs), func(k *byteKernels, dst []byte) { k.bytes(dst, stride, src, ld, 64, runs) })
				for bits := 2; bits <= 6; bits++ {
					n := 32 * runs
					for _, room := range []int{0, 8} { // after the last code
						codes := src[: n/8*bits : n/8*bits+room]
						check(fmt.Sprintf("%d codes of %d bits", n, bits), func(k *byteKernels, dst []byte) { k.unpackCodes(dst[:n], codes, bits) })
					}
				}
			}
		})
	}
}

// TestLinear8 compares products of rounded activations with the definition for the
// rounded values.
func TestLinear8(t *testing.T) {
	eachFamily(t, func(t *testing.T, d *Device) {
		r := newRand(17)
		for i, f := range formats() {
			if f.Kind == quant.Dense {
				continue
			}
			for j, tokens := range []int{1, 2, 3, 5, 8, 17, 31} {
				rows, cols := []int{1, 37, 64, 100}[(i+j)%4], []int{256, 768, 1536}[(i+j)%3]
				if f.HasScales() && (i+j)%4 == 1 {
					cols = 9 * f.Group
				}
				w, data := randomWeight(r, f, rows, cols)
				in := append([]compute.Array{random(r, compute.F32, tokens, cols)}, data...)
				op := compute.Linear{Weight: w, Bias: i%2 == 0}
				if op.Bias {
					in = append(in, random(r, compute.F32, rows))
				}
				got := run(t, d, op, nil, in)[0].F32()
				want := defined(t, op, nil, append([]compute.Array{roundedAs(d, op, in[0])}, in[1:]...))[0].F32()
				if diff := difference(got, want); !(diff <= sumTolerance) {
					t.Errorf("%v, %d rows of x, weight %dx%d: off by %g", f, tokens, rows, cols, diff)
				}
			}
		}
	})
}

// roundedAs returns x as the product takes it: rounded if the family has tiles of bytes, or
// dot products for so few rows, and as it is otherwise.
func roundedAs(d *Device, o compute.Linear, x compute.Array) compute.Array {
	f, k := o.Weight.Format, d.kernels.bytes
	super := f.Kind == quant.Q4K || f.Kind == quant.Q6K
	nibbles := f.Kind == quant.Affine && f.Bits == 4 && o.Weight.Cols%64 == 0
	fp4 := isFP4(f) && o.Weight.Cols%64 == 0 && d.kernels.dotFP4 != nil
	tiles := k.tileRows > 0 && (super || fp4 || 1<<f.Bits-1 <= k.maxCode)
	dots := x.Shape[0] <= gemvInt8 && (super || fp4 || nibbles || k.dotCodes != nil)
	if !super && !fp4 && f.Kind != quant.Affine || !tiles && !dots {
		return x
	}
	y := compute.Array{Spec: x.Spec, Data: append([]byte(nil), x.Data...)}
	v := y.F32()
	for i := 0; i < len(v); i += 32 {
		var q [32]int8
		scale := round32(&q, v[i:i+32])
		for j, b := range q {
			v[i+j] = scale * float32(b)
		}
	}
	return y
}

func BenchmarkLinear8(b *testing.B) {
	d := newDevice(b, 0, "")
	r := newRand(18)
	for _, size := range [][2]int{{14336, 4096}, {4096, 4096}, {576, 576}, {1536, 576}} {
		for _, f := range append(benchFormats, []quant.Format{
			{Kind: quant.Affine, DType: quant.F16, Bits: 4, Group: 32}, {Kind: quant.Affine, DType: quant.BF16, Bits: 3, Group: 64},
			{Kind: quant.Q4K}, {Kind: quant.Q6K},
		}...) {
			if size[1]%f.RowMultiple() != 0 {
				continue
			}
			w, data := randomWeight(r, f, size[0], size[1])
			for _, t := range []int{1, 2, 3, 4, 6, 8, 16, 32, 64, 512} {
				in := append([]compute.Array{random(r, compute.F32, t, size[1])}, data...)
				bench(b, d, fmt.Sprintf("%dx%d/%v/T=%d", size[0], size[1], f, t), compute.Linear{Weight: w}, in)
			}
		}
	}
}

func TestDotCodes(t *testing.T) {
	for _, kn := range families() {
		k := kn.bytes
		if k.tileRows == 0 {
			continue
		}
		t.Run(kn.name, func(t *testing.T) {
			r := newRand(19)
			for groups := 1; groups < 6; groups++ {
				for runs := 1; runs <= 4; runs *= 2 {
					n := groups * runs * 32
					x, codes := make([]int8, n), make([]byte, 4*n)
					for i := range x {
						x[i] = int8(r.IntN(255) - 127)
					}
					for i := range codes {
						codes[i] = byte(r.Uint32())
					}
					scales, scale := random(r, compute.F32, 4, groups).F32(), random(r, compute.F32, groups, runs).F32()
					got, want := make([]float32, 4), make([]float32, 4)
					k.dotCodes(got, codes, scales, x, scale)
					dotCodesGeneric(want, codes, scales, x, scale)
					if diff := difference(got, want); !(diff <= sumTolerance) {
						t.Errorf("%d groups of %d: off by %g", groups, runs*32, diff)
					}
				}
			}
		})
	}
}
