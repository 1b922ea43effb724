package compute

import (
	"math"
	"slices"
	"testing"
)

// Golden values drawn by mx.random of MLX.

func TestKeyGolden(t *testing.T) {
	zero := NewKey(0)
	next, use := zero.Split()
	if next != (Key{4146024105, 967050713}) || use != (Key{2718843009, 1272950319}) {
		t.Errorf("split of seed 0: %v %v", next, use)
	}
	if got, want := zero.Bits(3), []uint32{4146024105, 1351547692, 2718843009}; !slices.Equal(got, want) {
		t.Errorf("3 words of seed 0: %v, want %v", got, want)
	}
	want := []Key{{2718843009, 1272950319}, {1278412471, 2182328957}, {4104543539, 3483300570}, {1194623263, 2038155241}}
	for i, key := range stream(0, len(want)) {
		if key != want[i] {
			t.Errorf("key %d of the stream: %v, want %v", i+1, key, want[i])
		}
	}
	if got, want := NewKey(5<<32|7), (Key{5, 7}); got != want {
		t.Errorf("key of a 64-bit seed: %v, want %v", got, want)
	}
}

// stream draws the first n keys of a global random state.
func stream(seed uint64, n int) []Key {
	var keys []Key
	state := NewKey(seed)
	for range n {
		var use Key
		state, use = state.Split()
		keys = append(keys, use)
	}
	return keys
}

func TestUniformGolden(t *testing.T) {
	keys := stream(0, 2)
	tests := []struct {
		name  string
		key   Key
		n     int
		bound float32 // values in [-bound, bound), or [0, 1) when 0
		want  []float32
	}{
		{"uniform(0, 1, [4])", keys[0], 4, 0, []float32{0.87241435, 0.4430210, 0.27708054, 0.78659505}},
		{"LoRA 4x2", keys[1], 8, 0.5, []float32{-0.4330141, -0.0227614, 0.0387984, -0.0922863, -0.318056, 0.0687028, 0.1550875, 0.139244}},
		{"LoRA 64x8", keys[1], 512, 0.125, []float32{0.00312258, -0.09340301, -0.08925178, -0.00022863}},
	}
	const printed = 6e-8 // the golden values are rounded to 7 or 8 digits
	for _, tt := range tests {
		lo, hi := float32(0), float32(1)
		if tt.bound > 0 {
			lo, hi = -tt.bound, tt.bound
		}
		got := tt.key.Uniform(tt.n, lo, hi)
		if len(got) != tt.n {
			t.Errorf("%s: %d values", tt.name, len(got))
		}
		for i, w := range tt.want {
			if !(math.Abs(float64(got[i]-w)) <= printed) {
				t.Errorf("%s: value %d is %v, want %v", tt.name, i, got[i], w)
			}
		}
	}
}

func TestUniformStaysBelowTheUpperBound(t *testing.T) {
	var sum float64
	const n = 1 << 16
	for _, v := range NewKey(3).Uniform(n, -1, 1) {
		if v < -1 || v >= 1 {
			t.Fatalf("%v is not in [-1, 1)", v)
		}
		sum += float64(v)
	}
	// The mean of n values has a standard deviation of sqrt(1/3n).
	if mean := sum / n; !(math.Abs(mean) <= 5*math.Sqrt(1.0/3/n)) {
		t.Errorf("mean %v, want about 0", mean)
	}
}

func keys(k ...Key) Array { return Array{Spec: Spec{Shape{len(k), 2}, U32}, Data: KeyBytes(k)} }

func TestDropout(t *testing.T) {
	const n = 1 << 16
	ones := make([]float32, n)
	for i := range ones {
		ones[i] = 1
	}
	for _, rate := range []float32{0, 0.1, 0.5, 0.9} {
		op := Dropout{Rate: rate, Row: 1}
		y := run(t, op, array(ones, n), keys(NewKey(3), NewKey(11)))[0].F32()
		kept := 0
		for i, v := range y {
			if v == 0 {
				continue
			}
			kept++
			if want := 1 / (1 - rate); v != want {
				t.Fatalf("rate %g: value %d is %v, want %v", rate, i, v, want)
			}
		}
		share, sigma := float64(kept)/n, math.Sqrt(float64(rate*(1-rate))/n)
		if !(math.Abs(share-float64(1-rate)) <= 5*sigma) {
			t.Errorf("rate %g keeps %.4f of the values", rate, share)
		}
	}
	// The mask is MLX's: bits below (1-rate)·2^32, drawn in the key's order.
	y := run(t, Dropout{Rate: 0.3}, array(ones[:99], 99), keys(NewKey(0)))[0].F32()
	for i, b := range NewKey(0).Bits(99) {
		if keep := float64(b) < 0.7*(1<<32); keep != (y[i] != 0) {
			t.Errorf("value %d: word %d gives %v", i, b, y[i])
		}
	}
}
