package quant

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

// fpRecurrence makes the weights that testdata/make_fp.py quantizes.
func fpRecurrence(rows, cols int) []float32 {
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
				u = math.Ldexp(u, -(c / 16))
			case 6:
				if c%64 == 17 {
					u *= 100
				}
			case 7:
				if u = math.RoundToEven(u*48)/4 + 0; c%16 == 0 { // no negative zero
					u = 6
				}
			}
			w = append(w, float32(u*[]float64{1, 1e-3, 300}[r%3]))
		}
	}
	return w
}

type fpGolden struct {
	Rows, Cols int
	Cases      []struct{ DType, Mode, Data, Scales, Floats string }
	Bytes      map[string][2][]string
}

func readFPGolden(t *testing.T, path string) (g fpGolden) {
	t.Helper()
	blob, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(blob, &g)
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestQuantizeFPMLX compares with mx.quantize on the CPU, byte for byte.
// LENTIL_FP_GOLDEN names a longer file made by the same script.
func TestQuantizeFPMLX(t *testing.T) {
	t.Parallel()
	path := "testdata/fp.json"
	if p := os.Getenv("LENTIL_FP_GOLDEN"); p != "" {
		path = p
	}
	golden := readFPGolden(t, path)
	if len(golden.Cases) != 9 {
		t.Fatalf("%d cases, want 3 modes of 3 types", len(golden.Cases))
	}
	source := fpRecurrence(golden.Rows, golden.Cols)
	for _, c := range golden.Cases {
		t.Run(c.DType+"/"+c.Mode, func(t *testing.T) {
			d, err := ParseDType(c.DType)
			if err != nil {
				t.Fatal(err)
			}
			f, err := ParseMode(c.Mode)
			if err != nil {
				t.Fatal(err)
			}
			m, err := QuantizeFP(rounded(source, d), golden.Rows, golden.Cols, f.Kind, d, RuleCPU)
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Check(); err != nil {
				t.Fatal(err)
			}
			floats := make([]byte, 4*len(source))
			PutFloats(floats, m.Floats(), F32)
			for _, part := range []struct {
				name, want string
				got        []byte
			}{{"data", c.Data, m.Data}, {"scales", c.Scales, m.Scales}, {"floats", c.Floats, floats}} {
				if got := fmt.Sprintf("%08x", crc32.ChecksumIEEE(part.got)); got != part.want {
					t.Errorf("%s: checksum %s, MLX has %s", part.name, got, part.want)
				}
			}
		})
	}
}

// TestFPBytes compares what each byte means with what MLX reads: every element
// under the scale 1, and the element 1 under every scale.
func TestFPBytes(t *testing.T) {
	t.Parallel()
	golden := readFPGolden(t, "testdata/fp.json")
	for mode, want := range golden.Bytes {
		f, err := ParseMode(mode)
		if err != nil {
			t.Fatal(err)
		}
		groupBytes := f.RowBytes(f.Group)
		unit, one := byte(127), byte(0x22)
		if f.Kind == NVFP4 {
			unit = 56
		}
		if f.Bits == 8 {
			one = 0x38
		}
		elements := &Matrix{Format: f, Rows: 256 / groupBytes, Cols: f.Group}
		scales := &Matrix{Format: f, Rows: 256, Cols: f.Group, Data: []byte(strings.Repeat(string([]byte{one}), 256*groupBytes))}
		for b := range 256 {
			elements.Data = append(elements.Data, byte(b))
			scales.Scales = append(scales.Scales, byte(b))
		}
		elements.Scales = []byte(strings.Repeat(string([]byte{unit}), elements.Rows))
		for _, m := range []*Matrix{elements, scales} {
			if err := m.Check(); err != nil {
				t.Fatal(err)
			}
		}
		same := func(what string, i int, got float32, want string) {
			t.Helper()
			w, err := strconv.ParseFloat(want, 32)
			if err != nil {
				t.Fatal(err)
			}
			if math.Float32bits(got) != math.Float32bits(float32(w)) && !(got != got && w != w) {
				t.Errorf("%s: %s %d is %v, MLX reads %s", mode, what, i, got, want)
			}
		}
		for i, v := range elements.Floats() {
			same("element", i, v, want[0][i])
		}
		for i, v := range scales.Floats() {
			if i%f.Group == 0 {
				same("scale", i/f.Group, v, want[1][i/f.Group])
			}
		}
	}
}

// TestQuantizeFPRules works out by hand where the two rules differ.
func TestQuantizeFPRules(t *testing.T) {
	t.Parallel()
	ties := append([]float32{6, 0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5, -0.25, -5}, make([]float32, 22)...)
	for _, test := range []struct {
		rule Rule
		want []byte
	}{
		{RuleCPU, []byte{7, 0, 1, 2, 3, 4, 5, 6, 0, 14}},
		{RuleMetal, []byte{7, 0, 2, 2, 4, 4, 6, 6, 8, 14}},
	} {
		for _, kind := range []Kind{MXFP4, NVFP4} {
			m, err := QuantizeFP(ties, 1, 32, kind, F32, test.rule)
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range test.want {
				if got := m.Data[i/2] >> (4 * (i & 1)) & 15; got != want {
					t.Errorf("%v, rule %d: %v is nibble %d, want %d", m.Format, test.rule, ties[i], got, want)
				}
			}
		}
	}
	zeros, err := QuantizeFP(make([]float32, 32), 1, 32, MXFP8, F32, RuleMetal)
	if err != nil || zeros.Scales[0] != 0 || zeros.Floats()[5] != 0 {
		t.Errorf("zeros: %v, %v", zeros, err)
	}
}

// TestFPNearest compares the roundings with a search over all bytes.
func TestFPNearest(t *testing.T) {
	t.Parallel()
	nearest := func(x float32, table []float32) float32 {
		best := float32(math.Inf(1))
		for _, v := range table {
			if v == v && abs(v-x) < abs(best-x) {
				best = v
			}
		}
		return best
	}
	r := rand.New(rand.NewPCG(6, 7))
	cpu, metal := fpQuantizer{rule: RuleCPU}, fpQuantizer{rule: RuleMetal}
	for range 20000 {
		x := float32(r.NormFloat64() * math.Exp2(float64(r.IntN(20)-10)))
		if got, want := e4m3[toE4M3(x)], nearest(x, e4m3[:]); abs(got-x) != abs(want-x) {
			t.Fatalf("E4M3: %v becomes %v, nearest is %v", x, got, want)
		}
		for _, q := range []fpQuantizer{cpu, metal} {
			if got, want := e2m1[q.toE2M1(x)], nearest(x, e2m1[:]); abs(got-x) != abs(want-x) {
				t.Fatalf("E2M1: %v becomes %v, nearest is %v", x, got, want)
			}
		}
		if x = abs(x); e8m0[toE8M0(x)] < x || e8m0[toE8M0(x)]/2 >= x {
			t.Fatalf("E8M0: %v becomes %v", x, e8m0[toE8M0(x)])
		}
	}
}

func TestFPErrors(t *testing.T) {
	t.Parallel()
	w := make([]float32, 64)
	inf := append([]float32{}, w...)
	inf[40] = float32(math.Inf(-1))
	for _, test := range []struct {
		w          []float32
		rows, cols int
		kind       Kind
		source     DType
		want       string
	}{
		{w, 2, 32, Affine, F32, "expected MXFP4, NVFP4 or MXFP8"},
		{w, 2, 32, 99, F32, "expected MXFP4, NVFP4 or MXFP8"},
		{w, 2, 32, MXFP4, I8, "type I8"},
		{w, 3, 32, MXFP4, F32, "64 weights as [3, 32]"},
		{w, 4, 16, MXFP8, F32, "groups of 32"},
		{inf, 2, 32, MXFP8, F32, "row 1, columns 0 to 31"},
		{inf, 2, 32, NVFP4, BF16, "row 1, columns 0 to 15"},
	} {
		if _, err := QuantizeFP(test.w, test.rows, test.cols, test.kind, test.source, RuleCPU); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %q", err, test.want)
		}
	}
	for _, f := range []Format{{Kind: MXFP4, DType: U8, Bits: 4, Group: 16}, {Kind: NVFP4, DType: F16, Bits: 4, Group: 16}, {Kind: MXFP8}} {
		if err := f.Check(); err == nil {
			t.Errorf("%#v passes", f)
		}
	}
	if _, err := ParseMode("mxfp6"); err == nil || !strings.Contains(err.Error(), "nvfp4") {
		t.Errorf("mxfp6: %v", err)
	}
}
