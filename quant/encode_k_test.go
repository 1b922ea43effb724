package quant

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// superBlocks calls try with weights of every kind that the search for scales
// could treat differently, the same ones in each run.
func superBlocks(rounds int, try func(kind string, x *[256]float32)) {
	rng := rand.New(rand.NewPCG(256, 4))
	bell := func() float32 { // nearly normal, by sums alone: the same on every machine
		return rng.Float32() + rng.Float32() + rng.Float32() + rng.Float32() - 2
	}
	power := func(low, high int) float32 { return float32(math.Ldexp(1, low+rng.IntN(high-low))) }
	kinds := []struct {
		name string
		each func() func(i int) float32 // makes the weights of a block
	}{
		{"bell", func() func(int) float32 { s := power(-12, 4); return func(int) float32 { return s * bell() } }},
		{"shifted", func() func(int) float32 {
			s, m := power(-12, 4), 4*bell()
			return func(int) float32 { return float32(s*bell()) + m }
		}},
		{"all magnitudes", func() func(int) float32 { return func(int) float32 { return power(-149, 29) * bell() } }},
		{"groups of all magnitudes", func() func(int) float32 {
			var s [16]float32
			for i := range s {
				s[i] = power(-149, 29)
			}
			return func(i int) float32 { return s[i/16] * bell() }
		}},
		{"groups of similar magnitudes", func() func(int) float32 {
			var s [16]float32
			for i := range s {
				s[i] = power(-8, 4)
			}
			return func(i int) float32 { return s[i/16] * bell() }
		}},
		{"tiny", func() func(int) float32 { s := power(-149, -40); return func(int) float32 { return s * bell() } }},
		{"small scales", func() func(int) float32 { s := power(-32, -12); return func(int) float32 { return s * bell() } }},
		{"huge", func() func(int) float32 { s := power(12, 29); return func(int) float32 { return s * bell() } }},
		{"constant", func() func(int) float32 { c := power(-149, 29) * bell(); return func(int) float32 { return c } }},
		{"constant groups", func() func(int) float32 {
			var c [16]float32
			for i := range c {
				c[i] = power(-6, 6) * float32(rng.IntN(3)-1)
			}
			return func(i int) float32 { return c[i/16] }
		}},
		{"nearly constant", func() func(int) float32 {
			c, s := bell()*power(-20, 20), power(-24, -18)
			return func(int) float32 { return c + float32(c*float32(s*bell())) }
		}},
		{"one sign", func() func(int) float32 {
			s := power(-12, 4) * float32(2*rng.IntN(2)-1)
			return func(int) float32 { return s * rng.Float32() }
		}},
		{"one large", func() func(int) float32 {
			at, s := rng.IntN(256), power(0, 28)
			return func(i int) float32 {
				if i == at {
					return s * bell()
				}
				return bell()
			}
		}},
		{"mostly zero", func() func(int) float32 {
			return func(int) float32 {
				if rng.IntN(20) > 0 {
					return float32(math.Copysign(0, float64(bell())))
				}
				return bell()
			}
		}},
		{"whole numbers", func() func(int) float32 {
			s, n := power(-10, 4), 2+rng.IntN(64)
			return func(int) float32 { return s * float32(rng.IntN(n)-n/2) }
		}},
		{"halves", func() func(int) float32 { return func(int) float32 { return float32(rng.IntN(65)-32) / 2 } }},
		{"two values", func() func(int) float32 {
			a, b := bell(), bell()
			return func(int) float32 {
				if rng.IntN(2) == 0 {
					return a
				}
				return b
			}
		}},
		{"any bits", func() func(int) float32 {
			return func(int) float32 {
				for {
					if f := math.Float32frombits(rng.Uint32()); abs(f) < 9e8 {
						return f
					}
				}
			}
		}},
		{"largest", func() func(int) float32 {
			return func(int) float32 { return 9.9e8 * float32(2*rng.IntN(2)-1) }
		}},
		{"not finite", func() func(int) float32 {
			at, f := rng.IntN(256), []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 1e9}[rng.IntN(4)]
			return func(i int) float32 {
				if i == at {
					return f
				}
				return bell()
			}
		}},
	}
	var x [256]float32
	for range rounds {
		for _, kind := range kinds {
			each := kind.each()
			for i := range x {
				x[i] = each(i)
			}
			try(kind.name, &x)
		}
	}
	clear(x[:])
	try("zeros", &x)
}

// encodeWith is Encode of one super-block by given searches, nil when refused.
func encodeWith(s *searches, b BlockType, x *[256]float32) []byte {
	for _, v := range x {
		if !(abs(v) < 1e9) {
			return nil
		}
	}
	block, ok := make([]byte, b.Bytes()), false
	if b == BlockQ6K {
		ok = s.encodeQ6K(block, x)
	} else {
		ok = s.encodeK(b, block, x)
	}
	if !ok {
		return nil
	}
	return block
}

var kTypes = []BlockType{BlockQ4K, BlockQ5K, BlockQ6K}

// TestEncodeKGolden demands the bits that the search for scales wrote at first: making
// it faster must not change them.
func TestEncodeKGolden(t *testing.T) {
	t.Parallel()
	golden := map[BlockType]string{
		BlockQ4K: "1007 refused, 0b01ea8d84bbed33b047e16dbe4c0015",
		BlockQ5K: "1000 refused, ef8e93d1b6b12c138e83623225bed181",
		BlockQ6K: "637 refused, 3dd6a28edec42c1684714b6722967d0a",
	}
	check := func(name string, encode func(b BlockType, x *[256]float32) []byte) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for b, want := range golden {
				sum := sha256.New()
				refused := 0
				superBlocks(200, func(_ string, x *[256]float32) {
					block := encode(b, x)
					if block == nil {
						refused++
						block = make([]byte, b.Bytes())
					}
					sum.Write(block)
				})
				if got := fmt.Sprintf("%d refused, %x", refused, sum.Sum(nil)[:16]); got != want {
					t.Errorf("%v: %s, expected %s", b, got, want)
				}
			}
		})
	}
	for _, s := range slices.Compact([]*searches{plainSearches, fastSearches}) {
		check(s.name, func(b BlockType, x *[256]float32) []byte { return encodeWith(s, b, x) })
	}
	check("Encode", func(b BlockType, x *[256]float32) []byte {
		block := make([]byte, b.Bytes())
		if !b.Encode(block, x[:]) {
			return nil
		}
		return block
	})
}

// TestSearches compares the searches of this machine with the plain form.
func TestSearches(t *testing.T) {
	t.Parallel()
	if fastSearches == plainSearches {
		t.Skip("this machine has the plain form only")
	}
	superBlocks(50, func(kind string, x *[256]float32) {
		if t.Failed() {
			return
		}
		for _, b := range kTypes {
			got, want := encodeWith(fastSearches, b, x), encodeWith(plainSearches, b, x)
			if !bytes.Equal(got, want) {
				t.Errorf("%v, %s, %v:\n%s %x\nplain %x", b, kind, x, fastSearches.name, got, want)
			}
		}
		// Scales that fit the weights badly: quotients out of all bounds.
		var scale, offset [16]float32
		for j := range scale {
			scale[j], offset[j] = x[255-j], x[j]
		}
		var got, want [256]uint8
		fastSearches.integers(&got, x, &scale, &offset, -32, 31)
		integersPlain(&want, x, &scale, &offset, -32, 31)
		if got != want {
			t.Errorf("integers, %s, scales %v, offsets %v of %v:\n%s %x\nplain %x", kind, scale, offset, x, fastSearches.name, got, want)
		}
	})
}

func FuzzEncodeK(f *testing.F) {
	f.Add(bytes.Repeat([]byte{1, 2, 128, 63}, 256))
	f.Add(bytes.Repeat([]byte{1, 0, 0, 0, 0, 0, 0, 128}, 128))
	f.Add(bytes.Repeat([]byte{0, 0, 122, 196, 1, 0, 122, 196, 0, 0, 0, 0}, 86))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) < 1024 {
			return
		}
		var x [256]float32
		Floats(x[:], raw[:1024], F32)
		for _, b := range kTypes {
			if got, want := encodeWith(fastSearches, b, &x), encodeWith(plainSearches, b, &x); !bytes.Equal(got, want) {
				t.Fatalf("%v of %v:\n%s %x\nplain %x", b, x, fastSearches.name, got, want)
			}
		}
	})
}
