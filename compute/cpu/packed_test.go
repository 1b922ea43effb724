package cpu

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// benchFormats are the small floats and what they compete with.
var benchFormats = []quant.Format{
	{Kind: quant.Affine, DType: quant.F16, Bits: 4, Group: 32},
	{Kind: quant.Affine, DType: quant.BF16, Bits: 4, Group: 64},
	{Kind: quant.Affine, DType: quant.BF16, Bits: 8, Group: 64},
	{Kind: quant.MXFP4, DType: quant.U8, Bits: 4, Group: 32},
	{Kind: quant.NVFP4, DType: quant.U8, Bits: 4, Group: 16},
	{Kind: quant.MXFP8, DType: quant.U8, Bits: 8, Group: 32},
}

// BenchmarkTokens times products with one to eight tokens on weights that no cache holds:
// it goes through enough copies of a matrix, as a model goes through its layers.
func BenchmarkTokens(b *testing.B) {
	const beyondCache = 160 << 20 // bytes
	d := newDevice(b, 0, "")
	r := newRand(23)
	for _, size := range [][2]int{{4864, 896}, {896, 4864}, {8192, 2048}, {2048, 8192}, {4096, 4096}} {
		for _, f := range append(benchFormats, quant.Format{Kind: quant.Q4K}) {
			if size[1]%f.RowMultiple() != 0 {
				continue
			}
			w, data := randomWeight(r, f, size[0], size[1])
			var copies [][]compute.Buffer
			for bytes := 0; bytes < beyondCache; {
				var list []compute.Buffer
				for _, a := range data {
					buf := allocated(b, d, a)
					list = append(list, buf)
					bytes += len(a.Data)
				}
				copies = append(copies, list)
			}
			for _, tokens := range []int{1, 2, 4, 5, 8} {
				x, y := allocated(b, d, random(r, compute.F32, tokens, size[1])), allocated(b, d, random(r, compute.F32, tokens, size[0]))
				for _, rowWise := range []bool{false, true} {
					if rowWise && tokens == 1 {
						continue
					}
					b.Run(fmt.Sprintf("%dx%d/%v/rowwise=%v/T=%d", size[0], size[1], f, rowWise, tokens), func(b *testing.B) {
						var took []time.Duration
						for i := 0; b.Loop(); i++ {
							in := append([]compute.Buffer{x}, copies[i%len(copies)]...)
							start := time.Now()
							if err := d.Run(compute.Linear{Weight: w, RowWise: rowWise}, []compute.Buffer{y}, in); err != nil {
								b.Fatal(err)
							}
							took = append(took, time.Since(start))
						}
						slices.Sort(took)
						b.ReportMetric(float64(took[len(took)/2].Microseconds()), "median-µs")
						b.ReportMetric(float64(took[len(took)/10].Microseconds()), "fast-µs")
					})
				}
				x.Free()
				y.Free()
			}
			for _, list := range copies {
				for _, buf := range list {
					buf.Free()
				}
			}
		}
	}
}

// allocated puts an array into the device's own memory.
func allocated(b *testing.B, d *Device, a compute.Array) compute.Buffer {
	buf, err := d.Alloc(a.Shape, a.DType)
	if err != nil {
		b.Fatal(err)
	}
	copy(buf.(*buffer).Data, a.Data)
	return buf
}

func TestPacked(t *testing.T) {
	for _, kn := range families() {
		k := kn.bytes
		if k.packed == nil {
			continue
		}
		t.Run(kn.name, func(t *testing.T) {
			r := newRand(27)
			for _, f := range formats() {
				if !isFP4(f) && (f.Kind != quant.Affine || f.Bits != 4) {
					continue
				}
				for rows := 2; rows <= packedMost; rows++ {
					for i, n := range []int{128, 192, 256, 448, 640, 896} {
						if n%f.Group != 0 {
							continue
						}
						ld, ldc, groups := n/2+16*(i%2), packedCols+3, n/f.Group
						x, w := make([]int8, n*rows), make([]byte, packedCols*ld)
						for i := range x {
							x[i] = int8(r.IntN(255) - 127)
						}
						for i := range w {
							w[i] = byte(r.Uint32())
						}
						spans := n / min(32, f.Group)
						scale, sum := random(r, compute.F32, spans, rows).F32(), random(r, compute.F32, groups, rows).F32()
						ws, wb := random(r, compute.F32, groups, packedCols).F32(), random(r, compute.F32, groups, packedCols).F32()
						start := make([]int32, spans*rows)
						for i := range start {
							start[i] = r.Int32N(1<<16) - 1<<15
						}
						got := random(r, compute.F32, rows, ldc).F32()
						want := slices.Clone(got)
						for _, add := range []bool{false, true} {
							tile := packedTile{x: &x[0], scale: &scale[0], sum: &sum[0], start: &start[0], w: &w[0], ld: ld, ws: &ws[0], wb: &wb[0],
								c: &got[0], ldc: ldc, runs: n / 32, groups: groups, share: f.Group/32 - 1, add: add}
							k.packed(rows, &tile, f.Kind)
							tile.c = &want[0]
							packedGeneric(rows, &tile, f.Kind)
							if diff := difference(got, want); !(diff <= sumTolerance) {
								t.Errorf("%v, %d rows of x, %d values, add %v: off by %g", f, rows, n, add, diff)
							}
						}
					}
				}
			}
		})
	}
}

func TestScaleColumns(t *testing.T) {
	for _, kn := range families() {
		k := kn.bytes
		if k.packed == nil {
			continue
		}
		t.Run(kn.name, func(t *testing.T) {
			r := newRand(28)
			for _, f := range formats() {
				if !isFP4(f) && (f.Kind != quant.Affine || f.Bits != 4) {
					continue
				}
				for _, groups := range []int{1, 2, 3, 7, 16, 17, 33, 64, 65, 77} {
					src := make([]byte, packedCols*groups*f.DType.Size())
					for i := range src {
						src[i] = byte(r.Uint32())
					}
					got, want := make([]float32, roundUp(groups, 4)*packedCols+1), make([]float32, groups*packedCols)
					got[len(got)-1] = 1
					k.scaleColumns(got, src, f)
					scaleColumnsGeneric(want, src, f)
					for i, v := range want {
						if got[i] != v && v == v {
							t.Fatalf("%v, %d groups: value %d is %g, want %g", f, groups, i, got[i], v)
						}
						if v != v && got[i] == got[i] {
							t.Fatalf("%v, %d groups: value %d is %g, want a NaN", f, groups, i, got[i])
						}
					}
					if got[len(got)-1] != 1 {
						t.Errorf("%v, %d groups: wrote past the end", f, groups)
					}
				}
			}
		})
	}
}
