package quant

import (
	"fmt"
	"math"
)

// The microscaling formats: weights are floats of 4 or 8 bits, and each group
// of a row has one scale of 8 bits that they are multiplied with.
//
//	mxfp4  E2M1, 32 weights a scale, E8M0
//	mxfp8  E4M3, 32 weights a scale, E8M0
//	nvfp4  E2M1, 16 weights a scale, E4M3
//
// E2M1 is a sign, 2 bits of exponent and 1 of mantissa. E4M3 is a sign, 4 and 3 bits,
// without infinities and with one NaN for each sign. E8M0 is a power of two,
// 2^(byte-127); the last is the standard's NaN, which MLX reads as infinity.
// (OCP Microscaling Formats 1.0; NVIDIA's NVFP4.) All products are exact in bfloat16.
// Data has the row's floats in order, the first of two in the lower nibble, as
// mx.quantize writes them.

// IsFP reports whether k is one of MXFP4, NVFP4 and MXFP8.
func (k Kind) IsFP() bool { return k == MXFP4 || k == NVFP4 || k == MXFP8 }

// modes are MLX's names, each with the bits and group it takes by default.
var modes = [...]struct {
	name   string
	format Format
}{
	{"affine", Format{Kind: Affine, Bits: 4, Group: 64}},
	{"mxfp4", Format{Kind: MXFP4, DType: U8, Bits: 4, Group: 32}},
	{"nvfp4", Format{Kind: NVFP4, DType: U8, Bits: 4, Group: 16}},
	{"mxfp8", Format{Kind: MXFP8, DType: U8, Bits: 8, Group: 32}},
}

// ParseMode returns the format that MLX means by a mode, with the mode's own
// bits and group. For "affine" the type of the scales is left open.
func ParseMode(mode string) (Format, error) {
	for _, m := range modes {
		if m.name == mode {
			return m.format, nil
		}
	}
	return Format{}, fmt.Errorf("mode %q is not one of affine, mxfp4, nvfp4, mxfp8", mode)
}

// Mode is MLX's name for the format's kind, "" when MLX has none.
func (f Format) Mode() string {
	for _, m := range modes {
		if m.format.Kind == f.Kind {
			return m.name
		}
	}
	return ""
}

// checkFP reports bits, groups or scales that the kind does not have.
func (f Format) checkFP() error {
	want, err := ParseMode(f.Mode())
	if err == nil && f != want {
		err = fmt.Errorf("mode %s with %d bits in groups of %d and scales of type %v: expected %d bits, groups of %d, %v",
			f.Mode(), f.Bits, f.Group, f.DType, want.Bits, want.Group, want.DType)
	}
	return err
}

// e2m1 holds the values of the 16 nibbles.
var e2m1 = [16]float32{
	0, 0.5, 1, 1.5, 2, 3, 4, 6,
	float32(math.Copysign(0, -1)), -0.5, -1, -1.5, -2, -3, -4, -6,
}

// e2m1Pairs holds the values of the two nibbles of each byte.
var e2m1Pairs = func() (t [256][2]float32) {
	for b := range t {
		t[b] = [2]float32{e2m1[b&15], e2m1[b>>4]}
	}
	return t
}()

// e4m3 and e8m0 hold the values of the 256 bytes.
var e4m3, e8m0 = fpTables()

func fpTables() (e4m3, e8m0 [256]float32) {
	for b := range 256 {
		// As the low bits of a half the number is 2^8 too small, subnormals too.
		v := F16ToF32(uint16(b&0x7f)<<7) * 256
		if b&0x7f == 0x7f {
			v = float32(math.NaN())
		}
		if b&0x80 != 0 {
			v = -v
		}
		e4m3[b] = v
		e8m0[b] = float32(math.Ldexp(1, b-127))
	}
	return e4m3, e8m0
}

// fpRow decodes one row: len(dst) weights in src with the scales of its groups.
func fpRow(dst []float32, src, scales []byte, f Format) {
	table := &e8m0
	if f.Kind == NVFP4 {
		table = &e4m3
	}
	for _, s := range scales[:len(dst)/f.Group] {
		scale, group := table[s], dst[:f.Group]
		if f.Bits == 8 {
			for i, b := range src[:f.Group] {
				group[i] = e4m3[b] * scale
			}
		} else {
			for i, b := range src[:f.Group/2] {
				pair, to := &e2m1Pairs[b], (*[2]float32)(group[2*i:])
				to[0], to[1] = pair[0]*scale, pair[1]*scale
			}
		}
		dst, src = dst[f.Group:], src[f.Group*f.Bits/8:]
	}
}
