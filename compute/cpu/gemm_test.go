package cpu

import (
	"fmt"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

func TestTile(t *testing.T) {
	for _, kn := range families() {
		t.Run(kn.name, func(t *testing.T) {
			r := newRand(1)
			for _, k := range []int{1, 2, 3, 4, 5, 7, 8, 31, 256} {
				for _, add := range []bool{false, true} {
					ldc := kn.nr + 3
					a, b := random(r, compute.F32, k, kn.mr).F32(), random(r, compute.F32, k, kn.nr).F32()
					got := random(r, compute.F32, kn.mr, ldc).F32()
					want := append([]float32(nil), got...)
					kn.tile(k, &a[0], &b[0], &got[0], ldc, add)
					tileGeneric(kn.mr, kn.nr, k, &a[0], &b[0], &want[0], ldc, add)
					if diff := difference(got, want); !(diff < sumTolerance) {
						t.Errorf("k %d, add %v: off by %g", k, add, diff)
					}
				}
			}
		})
	}
}

func TestNarrowTile(t *testing.T) {
	for _, kn := range families() {
		t.Run(kn.name, func(t *testing.T) {
			r := newRand(7)
			for _, k := range []int{1, 2, 5, 33} {
				for _, add := range []bool{false, true} {
					for _, strides := range [][2]int{{k + 3, 1}, {1, narrowSide + 3}} {
						a, b := random(r, compute.F32, 16*(k+11)).F32(), random(r, compute.F32, k, narrowSide).F32()
						got := random(r, compute.F32, narrowSide, narrowSide).F32()
						want := append([]float32(nil), got...)
						kn.narrowTile(k, &a[0], strides[0], strides[1], &b[0], &got[0], add)
						narrowTileGeneric(k, &a[0], strides[0], strides[1], &b[0], &want[0], add)
						if diff := difference(got, want); !(diff < sumTolerance) {
							t.Errorf("k %d, add %v, strides %d: off by %g", k, add, strides, diff)
						}
					}
				}
			}
		})
	}
}

func TestInterleave(t *testing.T) {
	for _, kn := range families() {
		t.Run(kn.name, func(t *testing.T) {
			for n := range 35 {
				width, ld := 6, 40
				src := random(newRand(2), compute.F32, 4*ld).F32()
				got, want := make([]float32, width*n+8), make([]float32, width*n+8)
				kn.interleave4(&got[0], width, &src[0], ld, n)
				interleave4Generic(&want[0], width, &src[0], ld, n)
				kn.interleave2(&got[4], width, &src[2], ld, n)
				interleave2Generic(&want[4], width, &src[2], ld, n)
				if difference(got, want) != 0 {
					t.Errorf("n %d: got %v, want %v", n, got, want)
				}
			}
		})
	}
}

func TestScatter(t *testing.T) {
	for _, kn := range families() {
		t.Run(kn.name, func(t *testing.T) {
			for n := 1; n < 5; n++ {
				stride := kn.nr + 5
				src := random(newRand(2), compute.F32, n*kn.nr).F32()
				got, want := make([]float32, n*stride), make([]float32, n*stride)
				kn.scatter(&got[0], stride, &src[0], n)
				scatterGeneric(&want[0], stride, &src[0], n, kn.nr)
				if difference(got, want) != 0 {
					t.Errorf("%d pieces: got %v, want %v", n, got, want)
				}
			}
		})
	}
}

// wideTolerance allows one rounding where the definition has two (fused
// multiply-add).
const wideTolerance = 2e-7

func TestWeightRow(t *testing.T) {
	for _, kn := range families() {
		t.Run(kn.name, func(t *testing.T) {
			r := newRand(3)
			for _, f := range formats() {
				_, data := randomWeight(r, f, 3, 512)
				m := compute.Weight{Format: f, Rows: 3, Cols: 512}.Of(data[0])
				want := m.Floats()
				for row := range 3 {
					for _, c0 := range []int{0, 256} {
						got := make([]float32, 256)
						kn.weightRow(got, m, row, c0, make([]float32, spareFloats(256)))
						if diff := difference(got, want[row*512+c0:][:256]); !(diff <= wideTolerance) {
							t.Errorf("%v row %d from %d: off by %g", f, row, c0, diff)
						}
					}
				}
			}
			for n := range 20 {
				for _, dt := range []compute.DType{compute.F16, compute.BF16} {
					src := random(r, dt, n)
					got := make([]float32, n)
					kn.widen(got, src.Data, dt)
					if difference(got, src.Floats()) != 0 {
						t.Errorf("%v: %d values differ", dt, n)
					}
				}
			}
		})
	}
}

func TestMatMul(t *testing.T) {
	eachFamily(t, func(t *testing.T, d *Device) {
		r := newRand(4)
		sizes := [][3]int{{1, 1, 1}, {3, 5, 7}, {6, 16, 4}, {17, 8, 300}, {300, 8, 17}, {8, 301, 33}, {8, 33, 520}, {32, 600, 7}, {77, 31, 300}, {101, 203, 259}, {13, 400, 1}}
		for i, s := range sizes {
			for mode := range 4 {
				op := compute.MatMul{TransA: mode&1 > 0, TransB: mode&2 > 0, Alpha: 1, Accumulate: (i+mode)%2 == 0}
				if i%2 == 1 {
					op.Alpha = -0.5
				}
				a, b := random(r, compute.F32, s[0], s[2]), random(r, compute.F32, s[2], s[1])
				if op.TransA {
					a.Shape = compute.Shape{s[2], s[0]}
				}
				if op.TransB {
					b.Shape = compute.Shape{s[1], s[2]}
				}
				check(t, d, op, []compute.Array{random(r, compute.F32, s[0], s[1])}, []compute.Array{a, b}, sumTolerance)
			}
		}
	})
}

func TestLinear(t *testing.T) {
	eachFamily(t, func(t *testing.T, d *Device) {
		r := newRand(5)
		for i, f := range formats() {
			for _, rows := range []int{1, 40, 101} {
				cols := 512
				w, data := randomWeight(r, f, rows, cols)
				tokens := []int{1, 5, 19, 70}[(i+rows)%4]
				in := append([]compute.Array{random(r, compute.F32, tokens, cols)}, data...)
				check(t, d, compute.Linear{Weight: w, Exact: true}, nil, in, sumTolerance)
				check(t, d, compute.Linear{Weight: w, Exact: true, Bias: true}, nil, append(in, random(r, compute.F32, rows)), sumTolerance)
				in[0] = random(r, compute.F32, tokens, rows)
				op := compute.LinearGradInput{Weight: w, Accumulate: i%2 == 0}
				check(t, d, op, []compute.Array{random(r, compute.F32, tokens, cols)}, in, sumTolerance)
			}
		}
	})
}

func BenchmarkGEMM(b *testing.B) {
	shapes := [][3]int{{512, 4096, 4096}, {256, 4096, 1024}, {1024, 576, 576}, {1024, 1536, 576}, {1024, 8, 576}, {1024, 576, 8}}
	for _, k := range families() {
		if k == generic {
			continue
		}
		d := newDevice(b, 0, k.name)
		r := newRand(6)
		for _, s := range shapes {
			m, n, kk := s[0], s[1], s[2]
			x := random(r, compute.F32, m, kk)
			dense, dw := randomWeight(r, quant.Format{Kind: quant.Dense, DType: quant.F32}, n, kk)
			bench(b, d, fmt.Sprintf("%s/f32/%dx%dx%d", k.name, m, n, kk), compute.Linear{Weight: dense, Exact: true}, append([]compute.Array{x}, dw...))
			if kk%64 != 0 {
				continue
			}
			for _, f := range benchFormats {
				w, data := randomWeight(r, f, n, kk)
				size := fmt.Sprintf("%dx%dx%d", m, n, kk)
				bench(b, d, fmt.Sprintf("%s/%v/%s", k.name, f, size), compute.Linear{Weight: w, Exact: true}, append([]compute.Array{x}, data...))
				bench(b, d, fmt.Sprintf("%s/%v-grad/%s", k.name, f, size), compute.LinearGradInput{Weight: w}, append([]compute.Array{random(r, compute.F32, m, n)}, data...))
			}
		}
	}
}

// bench runs an op as a sub-benchmark and reports its GFLOP/s and GB/s.
func bench(b *testing.B, d *Device, name string, op compute.Op, in []compute.Array) {
	b.Run(name, func(b *testing.B) {
		var ins, outs []compute.Buffer
		for _, a := range in {
			buf, err := d.Alloc(a.Shape, a.DType)
			if err != nil {
				b.Fatal(err)
			}
			copy(buf.(*buffer).Data, a.Data)
			ins = append(ins, buf)
		}
		want, err := compute.Infer(op, specs(in))
		if err != nil {
			b.Fatal(err)
		}
		for _, s := range want {
			buf, err := d.Alloc(s.Shape, s.DType)
			if err != nil {
				b.Fatal(err)
			}
			clear(buf.(*buffer).Data)
			outs = append(outs, buf)
		}
		for b.Loop() {
			if err := d.Run(op, outs, ins); err != nil {
				b.Fatal(err)
			}
		}
		cost := op.Cost(specs(in))
		seconds := b.Elapsed().Seconds() / float64(b.N) * 1e9
		b.ReportMetric(float64(cost.FLOPs)/seconds, "GFLOP/s")
		b.ReportMetric(float64(cost.Bytes)/seconds, "GB/s")
		for _, buf := range append(ins, outs...) {
			buf.Free()
		}
	})
}
