package quant

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

// recurrence makes the weights that testdata/make_affine.py quantizes.
func recurrence(rows, cols int) []float32 {
	w := make([]float32, 0, rows*cols)
	x := uint32(1)
	for r := range rows {
		for c := range cols {
			x = x*1664525 + 1013904223
			u := float64(x>>8)/(1<<24) - 0.5
			switch r % 8 {
			case 3:
				u = 0.375
				if c%128 < 64 {
					u = 0
				}
			case 4:
				u = -math.Abs(u)
			case 5:
				u = math.Abs(u) * 1e-6
			case 6:
				if c%64 == 17 {
					u *= 100
				}
			case 7:
				u = math.RoundToEven(u*16) / 8
			}
			w = append(w, float32(u*float64(1+r)))
		}
	}
	return w
}

// TestQuantizeAffineMLX compares with mx.quantize on the CPU, byte for byte.
// LENTIL_AFFINE_GOLDEN names a longer file made by the same script.
func TestQuantizeAffineMLX(t *testing.T) {
	t.Parallel()
	path := "testdata/affine.json"
	if p := os.Getenv("LENTIL_AFFINE_GOLDEN"); p != "" {
		path = p
	}
	blob, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Rows, Cols int
		Cases      []struct {
			DType                        string
			Bits, Group                  int
			Data, Scales, Biases, Floats string
		}
	}
	if err := json.Unmarshal(blob, &golden); err != nil {
		t.Fatal(err)
	}
	if want := 3 * 6 * 3; len(golden.Cases) != want {
		t.Fatalf("%d cases, want %d", len(golden.Cases), want)
	}
	source := recurrence(golden.Rows, golden.Cols)
	for _, c := range golden.Cases {
		t.Run(fmt.Sprintf("%s/%d-bit/g%d", c.DType, c.Bits, c.Group), func(t *testing.T) {
			d, err := ParseDType(c.DType)
			if err != nil {
				t.Fatal(err)
			}
			w := rounded(source, d)
			m, err := QuantizeAffine(w, golden.Rows, golden.Cols, c.Bits, c.Group, d, RuleCPU)
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Check(); err != nil {
				t.Fatal(err)
			}
			floats := make([]byte, 4*len(w))
			PutFloats(floats, m.Floats(), F32)
			for _, part := range []struct {
				name, want string
				got        []byte
			}{{"data", c.Data, m.Data}, {"scales", c.Scales, m.Scales}, {"biases", c.Biases, m.Biases}, {"floats", c.Floats, floats}} {
				if got := fmt.Sprintf("%08x", crc32.ChecksumIEEE(part.got)); got != part.want {
					t.Errorf("%s: checksum %s, MLX has %s", part.name, got, part.want)
				}
			}
		})
	}
}

// rounded returns w after a trip through type d.
func rounded(w []float32, d DType) []float32 {
	b := make([]byte, len(w)*d.Size())
	PutFloats(b, w, d)
	out := make([]float32, len(w))
	Floats(out, b, d)
	return out
}

// TestQuantizeAffineRules works the two rules out by hand where they differ.
func TestQuantizeAffineRules(t *testing.T) {
	t.Parallel()
	ramp := make([]float32, 32) // appendix A.3: (i-15)/16
	for i := range ramp {
		ramp[i] = float32(i-15) / 16
	}
	negative := make([]float32, 32) // -1 to -2: Metal counts 0 as the maximum
	for i := range negative {
		negative[i] = -1 - float32(i)/31
	}
	tests := []struct {
		name        string
		w           []float32
		rule        Rule
		scale, bias float32
		words       []uint32
	}{
		{"ramp CPU", ramp, RuleCPU, -0.125, 1, []uint32{0xccdeeeff, 0x889aaabc, 0x44566678, 0x00122234}},
		// q = 15.5 - i/2 ties at every even i: 15.5 14.5 13.5 ... go to 15 (clamped) 15 14 ...
		{"ramp Metal", ramp, RuleMetal, -0.125, 1, []uint32{0xcddeefff, 0x899aabbc, 0x45566778, 0x01122334}},
		{"zeros CPU", make([]float32, 32), RuleCPU, -1e-7, 0, []uint32{0, 0, 0, 0}},
		{"negative Metal", negative, RuleMetal, 2.0 / 15, -2, nil},
		{"negative CPU", negative, RuleCPU, 2.0 / 30, -2, nil},
	}
	for _, test := range tests {
		m, err := QuantizeAffine(test.w, 1, 32, 4, 32, F32, test.rule)
		if err != nil {
			t.Fatal(err)
		}
		var s, b [1]float32
		Floats(s[:], m.Scales, F32)
		Floats(b[:], m.Biases, F32)
		if !(math.Abs(float64(s[0]/test.scale-1)) <= 1e-6) || b[0] != test.bias {
			t.Errorf("%s: scale %v bias %v, want %v %v", test.name, s[0], b[0], test.scale, test.bias)
		}
		for i, want := range test.words {
			if got := binary.LittleEndian.Uint32(m.Data[4*i:]); got != want {
				t.Errorf("%s: word %d is %08x, want %08x", test.name, i, got, want)
			}
		}
	}
}

// TestPutRow: a row put in place is the row that QuantizeAffine makes, its
// neighbours stay, and what cannot be held becomes NaN, group by group.
func TestPutRow(t *testing.T) {
	t.Parallel()
	for _, bits := range []int{2, 3, 4, 5, 6, 8} {
		for _, scales := range []DType{F32, F16, BF16} {
			w := recurrence(8, 128)
			want, err := QuantizeAffine(w, 8, 128, bits, 64, scales, RuleCPU)
			if err != nil {
				t.Fatal(err)
			}
			got := &Matrix{Format: want.Format, Rows: 8, Cols: 128, Data: make([]byte, len(want.Data)),
				Scales: make([]byte, len(want.Scales)), Biases: make([]byte, len(want.Biases))}
			for _, row := range []int{5, 0, 7, 2, 1, 3, 6, 4} {
				got.PutRow(row, w[row*128:(row+1)*128], RuleCPU)
			}
			if !slices.Equal(got.Data, want.Data) || !slices.Equal(got.Scales, want.Scales) || !slices.Equal(got.Biases, want.Biases) {
				t.Errorf("%d bits, %v scales: other bytes than QuantizeAffine's", bits, scales)
			}
			bad := slices.Clone(w[:128])
			bad[70] = float32(math.Inf(1))
			before := got.Floats()
			got.PutRow(3, bad, RuleCPU)
			for i, v := range got.Floats() {
				switch row, col := i/128, i%128; {
				case row == 3 && col >= 64:
					if v == v {
						t.Fatalf("%d bits, %v scales: column %d beside an infinite one is %g, want NaN", bits, scales, col, v)
					}
				case v != v || row != 3 && v != before[i]:
					t.Fatalf("%d bits, %v scales: row %d, column %d is %g", bits, scales, row, col, v)
				}
			}
		}
	}
}

// TestPack checks the golden words of every width.
func TestPack(t *testing.T) {
	t.Parallel()
	repeat := func(n, period int) []uint8 {
		q := make([]uint8, n)
		for i := range q {
			q[i] = uint8(i % period)
		}
		return q
	}
	tests := []struct {
		bits  int
		q     []uint8
		words []uint32
	}{
		{2, repeat(16, 4), []uint32{0xe4e4e4e4}},
		{3, repeat(32, 8), []uint32{0x88fac688, 0xc688fac6, 0xfac688fa}},
		{4, []uint8{15, 15, 14, 14, 14, 13, 12, 12}, []uint32{0xccdeeeff}},
		{5, repeat(32, 32), []uint32{0x8a418820, 0xc5a92839, 0xca307b9a, 0x38bdab49, 0xffbbcdeb}},
		{6, repeat(16, 16), []uint32{0x440c2040, 0xa2481c61, 0x3ce34c2c}},
		{8, []uint8{1, 2, 3, 255}, []uint32{0xff030201}},
	}
	for _, test := range tests {
		got := make([]byte, len(test.q)*test.bits/8)
		pack(got, test.q, test.bits)
		for i, want := range test.words {
			if w := binary.LittleEndian.Uint32(got[4*i:]); w != want {
				t.Errorf("%d bits: word %d is %08x, want %08x", test.bits, i, w, want)
			}
		}
	}
}

// TestAffineRow compares the unrolled decoders with the layout's definition:
// bits [j*Bits, (j+1)*Bits) of the row.
func TestAffineRow(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, bits := range []int{2, 3, 4, 5, 6, 8} {
		for _, group := range []int{32, 64, 128} {
			for _, d := range []DType{F32, F16, BF16} {
				const rows, groups = 2, 67 // more groups than are widened at once
				m := &Matrix{Format: Format{Affine, d, bits, group}, Rows: rows, Cols: groups * group}
				m.Data = make([]byte, rows*m.Format.RowBytes(m.Cols))
				for i := range m.Data {
					m.Data[i] = byte(rng.Uint32())
				}
				scales, biases := make([]float32, rows*groups), make([]float32, rows*groups)
				for i := range scales {
					scales[i], biases[i] = rng.Float32()-0.5, rng.Float32()-0.5
				}
				scales, biases = rounded(scales, d), rounded(biases, d)
				m.Scales, m.Biases = make([]byte, len(scales)*d.Size()), make([]byte, len(scales)*d.Size())
				PutFloats(m.Scales, scales, d)
				PutFloats(m.Biases, biases, d)
				if err := m.Check(); err != nil {
					t.Fatal(err)
				}
				for row := range rows {
					got := make([]float32, m.Cols)
					m.Row(got, row)
					data := m.Data[row*m.Format.RowBytes(m.Cols):]
					for j, g := range got {
						var q int
						for b := range bits {
							at := j*bits + b
							q |= int(data[at/8]>>(at%8)&1) << b
						}
						k := row*groups + j/group
						if want := float32(scales[k]*float32(q)) + biases[k]; g != want {
							t.Fatalf("%v %v row %d weight %d: %v, want %v", m.Format, d, row, j, g, want)
						}
					}
				}
			}
		}
	}
}

func TestQuantizeAffineErrors(t *testing.T) {
	t.Parallel()
	ones := slices.Repeat([]float32{1}, 128)
	with := func(v float32) []float32 {
		w := slices.Clone(ones)
		w[100] = v
		return w
	}
	tests := []struct {
		name        string
		w           []float32
		rows, cols  int
		bits, group int
		d           DType
		want        string
	}{
		{"bits", ones, 2, 64, 7, 64, F16, "7 bits"},
		{"group", ones, 2, 64, 4, 16, F16, "group size 16"},
		{"columns", ones, 2, 64, 4, 128, F16, "do not divide"},
		{"size", ones, 3, 64, 4, 64, F16, "[3, 64]"},
		{"rows", ones, 0, 64, 4, 64, F16, "[0, 64]"},
		{"dtype", ones, 2, 64, 4, 64, I8, "scales of type I8"},
		{"NaN", with(float32(math.NaN())), 2, 64, 4, 64, F32, "row 1, columns 0 to 63"},
		{"infinite", with(float32(math.Inf(-1))), 2, 64, 4, 64, F32, "row 1"},
		{"too large for f16", with(1e6), 2, 64, 4, 32, F16, "row 1, columns 32 to 63"},
		{"range overflows", with(-math.MaxFloat32), 2, 64, 2, 64, F16, "too large"},
	}
	for _, test := range tests {
		_, err := QuantizeAffine(test.w, test.rows, test.cols, test.bits, test.group, test.d, RuleMetal)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one with %q", test.name, err, test.want)
		}
	}
}

func BenchmarkRow(b *testing.B) {
	const rows, cols = 64, 4096
	w := recurrence(rows, cols)
	dst := make([]float32, cols)
	for _, bits := range []int{2, 3, 4, 5, 6, 8} {
		m, err := QuantizeAffine(w, rows, cols, bits, 64, F16, RuleMetal)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(m.Format.String(), func(b *testing.B) {
			b.SetBytes(cols * 4)
			for i := range b.N {
				m.Row(dst, i%rows)
			}
		})
	}
}
