package cpu

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// BenchmarkFew times products with few tokens on weights that no cache holds:
// it goes through enough copies of a matrix, as a model goes through its layers.
func BenchmarkFew(b *testing.B) {
	const beyondCache = 160 << 20 // bytes
	fp4, _ := quant.ParseMode("mxfp4")
	nv4, _ := quant.ParseMode("nvfp4")
	fp8, _ := quant.ParseMode("mxfp8")
	d := newDevice(b, 0, "")
	r := newRand(23)
	for _, size := range [][2]int{{4864, 896}, {896, 4864}, {8192, 2048}, {2048, 8192}, {4096, 4096}} {
		for _, f := range []quant.Format{
			{Kind: quant.Affine, DType: quant.BF16, Bits: 4, Group: 64}, fp4, nv4, {Kind: quant.Affine, DType: quant.BF16, Bits: 8, Group: 64}, fp8, {Kind: quant.Q4K},
		} {
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
			for _, tokens := range []int{1, 2, 4, 8} {
				x, y := allocated(b, d, random(r, compute.F32, tokens, size[1])), allocated(b, d, random(r, compute.F32, tokens, size[0]))
				b.Run(fmt.Sprintf("%dx%d/%v/T=%d", size[0], size[1], f, tokens), func(b *testing.B) {
					var took []time.Duration
					for i := 0; b.Loop(); i++ {
						in := append([]compute.Buffer{x}, copies[i%len(copies)]...)
						start := time.Now()
						if err := d.Run(compute.Linear{Weight: w}, []compute.Buffer{y}, in); err != nil {
							b.Fatal(err)
						}
						took = append(took, time.Since(start))
					}
					slices.Sort(took)
					b.ReportMetric(float64(took[len(took)/2].Microseconds()), "median-µs")
					b.ReportMetric(float64(took[len(took)/10].Microseconds()), "fast-µs")
				})
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
