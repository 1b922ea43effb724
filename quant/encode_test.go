package quant

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestEncodeGGML compares with the blocks of ggml's own Python package.
func TestEncodeGGML(t *testing.T) {
	t.Parallel()
	blob, err := os.ReadFile("testdata/encode.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden []struct {
		Type           string
		Weights, Block []byte
	}
	if err := json.Unmarshal(blob, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden) < 30 {
		t.Fatalf("%d golden blocks", len(golden))
	}
	for i, g := range golden {
		b := allBlocks[slices.IndexFunc(allBlocks, func(b BlockType) bool { return b.String() == g.Type })]
		x := make([]float32, 32)
		Floats(x, g.Weights, F32)
		got := make([]byte, b.Bytes())
		if !b.Encode(got, x) || !bytes.Equal(got, g.Block) {
			t.Errorf("%d: %v of %v:\ngot  %x\nwant %x", i, b, x, got, g.Block)
		}
	}
}

// TestEncodeError bounds the error on normal weights. The bounds are those of
// a uniform grid over the spread of a group, 4 standard deviations for 32
// weights, with 2^bits levels: 4/2^bits/√12, and a little for rounded scales.
func TestEncodeError(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, 256*64)
	for i := range x {
		x[i] = float32(rng.NormFloat64() * 0.03)
	}
	for b, most := range map[BlockType]float64{
		BlockQ4_0: 0.095, BlockQ4_1: 0.085, BlockQ5_0: 0.05, BlockQ5_1: 0.045, BlockQ8_0: 0.006,
		BlockQ4K: 0.075, BlockQ5K: 0.0375, BlockQ6K: 0.02,
	} {
		data := make([]byte, len(x)/b.Elements()*b.Bytes())
		if !b.Encode(data, x) {
			t.Fatalf("%v: refused", b)
		}
		got := make([]float32, len(x))
		b.Decode(got, data)
		var off, all float64
		for i := range x {
			off += math.Pow(float64(got[i]-x[i]), 2)
			all += math.Pow(float64(x[i]), 2)
		}
		if e := math.Sqrt(off / all); e > most || e < most/3 {
			t.Errorf("%v: relative error %.4f, expected below %.4f", b, e, most)
		}
	}
}

// TestEncodeConstants: a block of equal weights keeps their value to a thousandth, and
// one with a weight that is not finite or too large is refused.
func TestEncodeConstants(t *testing.T) {
	t.Parallel()
	for _, b := range allBlocks {
		for _, c := range []float32{0, 0.5, -0.25} {
			x := slices.Repeat([]float32{c}, b.Elements())
			data, got := make([]byte, b.Bytes()), make([]float32, b.Elements())
			if !b.Encode(data, x) {
				t.Fatalf("%v: %v refused", b, c)
			}
			b.Decode(got, data)
			// 127 and 63 levels do not divide a half; the scale is a half-precision number.
			for i, v := range got {
				if !(math.Abs(float64(v-c)) <= math.Abs(float64(c))/1000) {
					t.Fatalf("%v of %v: weight %d is %v", b, c, i, v)
				}
			}
		}
		for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(-1)), 1e30} {
			x := make([]float32, b.Elements())
			x[7] = bad
			if b.Encode(make([]byte, b.Bytes()), x) {
				t.Errorf("%v takes %v", b, bad)
			}
		}
	}
}

// TestToBlocksKeeps checks that affine weights are not rounded again.
func TestToBlocksKeeps(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(8, 9))
	const rows, cols = 16, 256
	x := make([]float32, rows*cols)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	for _, test := range []struct {
		b     BlockType
		bits  int
		group int
		scale DType
		bias  float32 // in scales; 0: as quantized
	}{
		{BlockQ4_1, 4, 32, F16, 0}, {BlockQ4_1, 4, 64, BF16, 0}, {BlockQ4_1, 3, 128, F16, 0}, {BlockQ5_1, 5, 32, F16, 0},
		{BlockQ4_0, 4, 32, F16, -8}, {BlockQ4_0, 2, 64, BF16, -2}, {BlockQ8_0, 8, 32, F16, -128}, {BlockQ8_0, 4, 64, BF16, -7},
		{BlockQ5_0, 5, 64, F16, -16},
	} {
		m, err := QuantizeAffine(x, rows, cols, test.bits, test.group, test.scale, RuleMetal)
		if err != nil {
			t.Fatal(err)
		}
		if test.bias != 0 {
			scales := make([]float32, len(m.Scales)/2)
			Floats(scales, m.Scales, test.scale)
			for i := range scales {
				scales[i] *= test.bias // exact: a small integer times 8 bits, or a power of two
			}
			PutFloats(m.Biases, scales, test.scale)
			if test.bias == -7 { // 3 bits more than bfloat16 holds: take powers of two
				m = powersOfTwo(m, test.bias)
			}
		}
		data, err := ToBlocks(test.b, m)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]float32, rows*cols)
		test.b.Decode(got, data)
		if i := firstDifference(got, m.Floats()); i >= 0 {
			t.Errorf("%v from %v: weight %d is %v, was %v", test.b, m.Format, i, got[i], m.Floats()[i])
		}
	}
}

// powersOfTwo replaces the scales of m by 1/4 and the biases by bias/4.
func powersOfTwo(m *Matrix, bias float32) *Matrix {
	n := len(m.Scales) / m.Format.DType.Size()
	PutFloats(m.Scales, slices.Repeat([]float32{0.25}, n), m.Format.DType)
	PutFloats(m.Biases, slices.Repeat([]float32{0.25 * bias}, n), m.Format.DType)
	return m
}

// TestToBlocksNeverWorse checks that keeping integers never costs accuracy.
func TestToBlocksNeverWorse(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(10, 11))
	x := make([]float32, 8*256)
	for i := range x {
		x[i] = float32(rng.NormFloat64() + 0.3)
	}
	for _, bits := range []int{2, 3, 4, 5, 6, 8} {
		m, err := QuantizeAffine(x, 8, 256, bits, 64, F32, RuleCPU)
		if err != nil {
			t.Fatal(err)
		}
		want := m.Floats()
		for _, b := range allBlocks {
			data, err := ToBlocks(b, m)
			if err != nil {
				t.Fatal(err)
			}
			fresh := make([]byte, len(data))
			b.Encode(fresh, want)
			got, other := make([]float32, len(want)), make([]float32, len(want))
			b.Decode(got, data)
			b.Decode(other, fresh)
			var kept, anew float64
			for i := range want {
				kept += math.Pow(float64(got[i]-want[i]), 2)
				anew += math.Pow(float64(other[i]-want[i]), 2)
			}
			if kept > anew*(1+1e-9) {
				t.Errorf("%v from %d bits: error %g, %g when quantized anew", b, bits, kept, anew)
			}
		}
	}
}

func TestToBlocksCopies(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(12, 13))
	for _, b := range []BlockType{BlockQ4K, BlockQ6K} {
		data := randomBlocks(b, 6, 0.01, rng)
		m, err := FromBlocks(b, data, 3, 512)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ToBlocks(b, m); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%v: not the same blocks (%v)", b, err)
		}
	}
	dense := &Matrix{Format: Format{Kind: Dense, DType: F32}, Rows: 1, Cols: 96, Data: make([]byte, 96*4)}
	if _, err := ToBlocks(BlockQ4K, dense); err == nil || !strings.Contains(err.Error(), "multiples of 256") {
		t.Errorf("rows of 96 as Q4_K: %v", err)
	}
}

func FuzzEncode(f *testing.F) {
	f.Add(bytes.Repeat([]byte{1, 2, 128, 63}, 256))
	f.Add(bytes.Repeat([]byte{0, 0, 128, 127}, 256))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) < 1024 {
			return
		}
		x := make([]float32, 256)
		Floats(x, raw[:1024], F32)
		for _, b := range allBlocks {
			data, got := make([]byte, 256/b.Elements()*b.Bytes()), make([]float32, 256)
			if !b.Encode(data, x) {
				continue
			}
			b.Decode(got, data)
			for i, v := range got {
				if v-v != 0 {
					t.Fatalf("%v: weight %d, %v, became %v", b, i, x[i], v)
				}
			}
		}
	})
}

// BenchmarkQuantize stores a matrix in each format, in float32 weights a second.
func BenchmarkQuantize(b *testing.B) {
	const rows, cols = 256, 4096
	r := rand.New(rand.NewPCG(1, 2))
	w := make([]float32, rows*cols)
	for i := range w {
		w[i] = float32(r.NormFloat64()) / 50
	}
	run := func(name string, quantize func() error) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(4 * rows * cols)
			for b.Loop() {
				if err := quantize(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for _, bits := range []int{4, 3, 8} {
		for rule, name := range map[Rule]string{RuleMetal: "metal", RuleCPU: "cpu"} {
			run(fmt.Sprintf("affine%d/%s", bits, name), func() error {
				_, err := QuantizeAffine(w, rows, cols, bits, 64, BF16, rule)
				return err
			})
		}
	}
	dense := &Matrix{Format: Format{Kind: Dense, DType: F32}, Rows: rows, Cols: cols, Data: make([]byte, 4*len(w))}
	PutFloats(dense.Data, w, F32)
	for _, block := range allBlocks {
		run(block.String(), func() error {
			_, err := ToBlocks(block, dense)
			return err
		})
	}
}
