// Package mersenne is the generator MT19937 (Matsumoto and Nishimura, 1998), as NumPy's legacy functions and Python's random seed it:
// what they draw can be drawn here.
package mersenne

import "math/bits"

// Random is one generator. A copy goes on as the original does.
type Random struct {
	State [Words]uint32
	Next  int // of State, to be drawn
}

// The constants of MT19937.
const (
	Words, shift = 624, 397 // of the state; how far ahead a new word looks
	seedFactor   = 1812433253
	twist        = 0x9908b0df
	mask1, mask2 = 0x9d2c5680, 0xefc60000
	upper, lower = 0x80000000, 0x7fffffff
)

// New is the generator after np.random.seed(seed).
func New(seed uint32) *Random {
	r := &Random{Next: Words}
	r.State[0] = seed
	for i := 1; i < Words; i++ {
		r.State[i] = seedFactor*(r.State[i-1]^(r.State[i-1]>>30)) + uint32(i)
	}
	return r
}

// Python is the generator of Python's random.Random(seed): it is seeded by an array, the words of the seed.
func Python(seed uint64) *Random {
	const first, step1, step2 = 19650218, 1664525, 1566083941
	key := []uint32{uint32(seed)}
	if high := uint32(seed >> 32); high > 0 {
		key = append(key, high)
	}
	r := New(first)
	i, s := 1, &r.State
	forward := func() {
		if i++; i >= Words {
			s[0], i = s[Words-1], 1
		}
	}
	for k := range Words {
		j := k % len(key)
		s[i] = (s[i] ^ (s[i-1]^(s[i-1]>>30))*step1) + key[j] + uint32(j)
		forward()
	}
	for range Words - 1 {
		s[i] = (s[i] ^ (s[i-1]^(s[i-1]>>30))*step2) - uint32(i)
		forward()
	}
	s[0] = upper
	return r
}

// Uint32 draws one tempered word.
func (r *Random) Uint32() uint32 {
	if r.Next == Words {
		r.refill()
	}
	y := r.State[r.Next]
	r.Next++
	y ^= y >> 11
	y ^= y << 7 & mask1
	y ^= y << 15 & mask2
	return y ^ y>>18
}

func (r *Random) refill() {
	for i := range r.State {
		y := r.State[i]&upper | r.State[(i+1)%Words]&lower
		v := r.State[(i+shift)%Words] ^ y>>1
		if y&1 == 1 {
			v ^= twist
		}
		r.State[i] = v
	}
	r.Next = 0
}

// Permutation shuffles 0..n-1 as np.random.permutation does: Fisher-Yates with masked rejection.
func (r *Random) Permutation(n int) []int {
	p := make([]int, n)
	for i := range p {
		p[i] = i
	}
	for i := n - 1; i > 0; i-- {
		mask := uint32(i)
		for s := 1; s < 32; s <<= 1 {
			mask |= mask >> s
		}
		j := r.Uint32() & mask
		for j > uint32(i) {
			j = r.Uint32() & mask
		}
		p[i], p[j] = p[j], p[i]
	}
	return p
}

// Below draws a number below n as Python's random does, 0 < n < 2³².
func (r *Random) Below(n int) int {
	size := bits.Len(uint(n))
	for {
		if k := int(r.Uint32() >> (32 - size)); k < n {
			return k
		}
	}
}

// Sample draws k of the numbers below n, as Python's random.sample does from a list of n; k is at most n.
func (r *Random) Sample(n, k int) []int {
	out := make([]int, k)
	small := 21 // from where on a set takes less than a list
	if k > 5 {
		power := 1
		for power < 3*k {
			power *= 4
		}
		small += power
	}
	if n <= small {
		pool := make([]int, n)
		for i := range pool {
			pool[i] = i
		}
		for i := range out {
			j := r.Below(n - i)
			out[i], pool[j] = pool[j], pool[n-i-1]
		}
		return out
	}
	seen := map[int]bool{}
	for i := range out {
		j := r.Below(n)
		for seen[j] {
			j = r.Below(n)
		}
		seen[j], out[i] = true, j
	}
	return out
}
