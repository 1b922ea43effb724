package quant

import (
	"math"
	"testing"
)

// f16Value is the definition of half precision in float64.
func f16Value(h uint16) float64 {
	exp, frac := int(h>>10&31), float64(h&1023)
	v := math.Ldexp(1024+frac, exp-25)
	switch {
	case exp == 0:
		v = math.Ldexp(frac, -24)
	case exp == 31 && frac == 0:
		v = math.Inf(1)
	case exp == 31:
		v = math.NaN()
	}
	if h>>15 == 1 {
		v = -v
	}
	return v
}

// TestF16 tries every half, and rounding at and around every midpoint.
func TestF16(t *testing.T) {
	t.Parallel()
	for i := range 1 << 16 {
		h := uint16(i)
		f, want := F16ToF32(h), f16Value(h)
		if math.IsNaN(want) {
			if f == f {
				t.Fatalf("%04x: %v is not NaN", h, f)
			}
			if back := F32ToF16(f); back != h|0x200 {
				t.Fatalf("%04x: NaN comes back as %04x", h, back)
			}
			continue
		}
		if float64(f) != want || math.Signbit(float64(f)) != math.Signbit(want) {
			t.Fatalf("%04x: %v, want %v", h, f, want)
		}
		if back := F32ToF16(f); back != h {
			t.Fatalf("%04x: comes back as %04x", h, back)
		}
		if h&0x7fff >= 0x7bff { // no finite half above
			continue
		}
		// The midpoint to the next half is a float32: even wins there.
		mid := (f + F16ToF32(h+1)) / 2
		away := float32(math.Inf(1))
		if h>>15 == 1 {
			away = -away
		}
		even := h + h&1
		for _, try := range []struct {
			f    float32
			want uint16
		}{{mid, even}, {math.Nextafter32(mid, 0), h}, {math.Nextafter32(mid, away), h + 1}} {
			if got := F32ToF16(try.f); got != try.want {
				t.Fatalf("%v rounds to %04x, want %04x", try.f, got, try.want)
			}
		}
	}
	for f, want := range map[float32]uint16{65519.996: 0x7bff, 65520: 0x7c00, -65520: 0xfc00, math.MaxFloat32: 0x7c00, 1e-40: 0} {
		if got := F32ToF16(f); got != want {
			t.Errorf("%v rounds to %04x, want %04x", f, got, want)
		}
	}
}

func TestBF16(t *testing.T) {
	t.Parallel()
	for i := range 1 << 16 {
		h := uint16(i)
		f := bf16ToF32(h)
		if f != f {
			if back := f32ToBF16(f); back != h|0x40 {
				t.Fatalf("%04x: NaN comes back as %04x", h, back)
			}
			continue
		}
		if back := f32ToBF16(f); back != h {
			t.Fatalf("%04x: comes back as %04x", h, back)
		}
		if h&0x7fff >= 0x7f80 {
			continue
		}
		mid := uint32(h)<<16 | 0x8000
		for _, try := range []struct {
			bits uint32
			want uint16
		}{{mid, h + h&1}, {mid - 1, h}, {mid + 1, h + 1}} {
			if got := f32ToBF16(math.Float32frombits(try.bits)); got != try.want {
				t.Fatalf("%08x rounds to %04x, want %04x", try.bits, got, try.want)
			}
		}
	}
	// A NaN whose payload lies in the dropped half must not become infinity.
	if got := bf16ToF32(f32ToBF16(math.Float32frombits(0x7f800001))); got == got {
		t.Errorf("NaN became %v", got)
	}
}

func TestFloats(t *testing.T) {
	t.Parallel()
	src := []byte{0x01, 0x80, 0xff, 0x7f, 0, 0, 0, 0xc0}
	tests := []struct {
		d    DType
		want []float32
	}{
		{I8, []float32{1, -128, -1, 127, 0, 0, 0, -64}},
		{U8, []float32{1, 128, 255, 127, 0, 0, 0, 192}},
		{Bool, []float32{1, 128}},
		{I16, []float32{-32767, 32767, 0, -16384}},
		{U16, []float32{32769, 32767, 0, 49152}},
		{I32, []float32{0x7fff8001, -0x40000000}},
		{U32, []float32{0x7fff8001, 0xc0000000}},
		{I64, []float32{-0x3fffffff80007fff}},
		{U64, []float32{0xc00000007fff8001}},
		{F64, []float32{-0x1.000007fff8001p1}},
		{F32, []float32{float32(math.NaN()), -2}},
		{F16, []float32{-0x1p-24, float32(math.NaN()), 0, -2}},
		{BF16, []float32{-0x1p-133, float32(math.NaN()), 0, -2}},
	}
	for _, test := range tests {
		got := make([]float32, len(test.want))
		Floats(got, src, test.d)
		for i, w := range test.want {
			if got[i] != w && (got[i] == got[i] || w == w) {
				t.Errorf("%v[%d]: %v, want %v", test.d, i, got[i], w)
			}
		}
	}
	for _, d := range []DType{F32, F16, BF16, F64} {
		want := []float32{0, 1, -2.5, 0.25, float32(math.Inf(1))}
		b := make([]byte, len(want)*d.Size())
		PutFloats(b, want, d)
		got := make([]float32, len(want))
		Floats(got, b, d)
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%v: %v came back as %v", d, want[i], got[i])
			}
		}
	}
}

func TestDType(t *testing.T) {
	t.Parallel()
	for d := F32; d <= Bool; d++ {
		if got, err := ParseDType(d.String()); got != d || err != nil {
			t.Errorf("%v: parsed as %v, %v", d, got, err)
		}
	}
	for _, tag := range []string{"F8_E4M3", "F8_E8M0"} {
		if got, err := ParseDType(tag); got != U8 || err != nil {
			t.Errorf("%s: parsed as %v, %v", tag, got, err)
		}
	}
	for _, tag := range []string{"", "f32", "C64"} {
		if _, err := ParseDType(tag); err == nil {
			t.Errorf("%q was accepted", tag)
		}
	}
	if DType(0).Size() != 0 || DType(200).Size() != 0 {
		t.Error("an unknown type has a size")
	}
}
