package compute

import (
	"fmt"
	"math/bits"
)

// Key is a key of the counter-based generator Threefry-2x32 (Salmon et al., 2011): its
// high and low half. JAX and MLX use the generator in the same way, so their random
// numbers can be drawn here.
type Key [2]uint32

// NewKey makes a key from a seed.
func NewKey(seed uint64) Key { return Key{uint32(seed >> 32), uint32(seed)} }

// Split gives two independent keys. A stream keeps the first and uses the second.
func (k Key) Split() (next, use Key) {
	w := k.Bits(4)
	return Key{w[0], w[1]}, Key{w[2], w[3]}
}

// After is the stream after n splits.
func (k Key) After(n int) Key {
	for range n {
		k, _ = k.Split()
	}
	return k
}

// Bits returns n random words.
func (k Key) Bits(n int) []uint32 {
	out := make([]uint32, n)
	half, odd := n/2, n%2
	for i := range half {
		out[i], out[half+odd+i] = k.hash(uint32(i), uint32(half+odd+i))
	}
	if odd == 1 {
		out[half], _ = k.hash(uint32(half), 0)
	}
	return out
}

// Uniform returns n values in [lo, hi), as mx.random.uniform does.
func (k Key) Uniform(n int, lo, hi float32) []float32 {
	const below1 = 1 - 1.0/(1<<24) // the largest float32 below 1
	out := make([]float32, n)
	for i, b := range k.Bits(n) {
		u := min(float32(b)/float32(1<<32), below1)
		out[i] = float32((hi-lo)*u) + lo
	}
	return out
}

// hash is the Threefry-2x32 block function of 20 rounds.
func (k Key) hash(a, b uint32) (uint32, uint32) {
	keys := [3]uint32{k[0], k[1], 0x1BD11BDA ^ k[0] ^ k[1]}
	rotations := [2][4]int{{13, 15, 26, 6}, {17, 29, 16, 24}}
	a, b = a+keys[0], b+keys[1]
	for i := range 5 {
		for _, r := range rotations[i%2] {
			a += b
			b = bits.RotateLeft32(b, r) ^ a
		}
		a += keys[(i+1)%3]
		b += keys[(i+2)%3] + uint32(i+1)
	}
	return a, b
}

// Dropout zeroes each value with probability Rate and divides the others by 1-Rate. The
// mask depends on the key in row Row of keys alone and is drawn as by
// mx.random.bernoulli. So the gradient is the same op on dy.
//
//	in: x float of any shape, keys U32 [N, 2];  out: as x (may be x itself)
type Dropout struct {
	Rate float32
	Row  int
}

func (Dropout) Name() string { return "dropout" }

func (o Dropout) Infer(in []Spec) ([]Spec, error) {
	if !(o.Rate >= 0 && o.Rate < 1) {
		return nil, fmt.Errorf("rate is %g, want 0 <= rate < 1", o.Rate)
	}
	if err := firstErr(arity(in, 2), want(in, 1, "keys", -1, 2), wantType(in, 1, "keys", U32)); err != nil {
		return nil, err
	}
	if n := in[1].Shape[0]; o.Row < 0 || o.Row >= n {
		return nil, fmt.Errorf("key %d of %d", o.Row, n)
	}
	return alike(in[:1], "x")
}

func (Dropout) Cost(in []Spec) Cost { return elementCost(in[:1], 40, 1) }

// Bound is the number below which a random word keeps its value, and what that is multiplied by.
func (o Dropout) Bound() (limit, scale float32) {
	keep := 1 - o.Rate
	return keep * 4294967808, 1 / keep // 2^32 + 512: MLX's bound in float32
}

func (o Dropout) Define(out, in []Array) {
	x := in[0].Floats()
	y, put := out[0].working()
	defer put()
	limit, scale := o.Bound()
	for i, b := range in[1].Keys()[o.Row].Bits(len(x)) {
		if float32(b) < limit {
			y[i] = x[i] * scale
		} else {
			y[i] = 0
		}
	}
}
