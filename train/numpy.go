package train

// numpyRandom is NumPy's legacy generator (MT19937), whose permutations decide
// the order of mlx-lm's batches: two runs with one seed see one order.
type numpyRandom struct {
	state [mtWords]uint32
	next  int
}

// The constants of MT19937 (Matsumoto and Nishimura, 1998).
const (
	mtWords, mtShift = 624, 397 // of the state; how far ahead a new word looks
	mtSeed           = 1812433253
	mtTwist          = 0x9908b0df
	mtMask1, mtMask2 = 0x9d2c5680, 0xefc60000
	mtUpper, mtLower = 0x80000000, 0x7fffffff
)

func newNumpyRandom(seed uint32) numpyRandom {
	r := numpyRandom{next: mtWords}
	r.state[0] = seed
	for i := 1; i < mtWords; i++ {
		r.state[i] = mtSeed*(r.state[i-1]^(r.state[i-1]>>30)) + uint32(i)
	}
	return r
}

// uint32 draws one tempered word.
func (r *numpyRandom) uint32() uint32 {
	if r.next == mtWords {
		r.refill()
	}
	y := r.state[r.next]
	r.next++
	y ^= y >> 11
	y ^= y << 7 & mtMask1
	y ^= y << 15 & mtMask2
	return y ^ y>>18
}

func (r *numpyRandom) refill() {
	for i := range r.state {
		y := r.state[i]&mtUpper | r.state[(i+1)%mtWords]&mtLower
		v := r.state[(i+mtShift)%mtWords] ^ y>>1
		if y&1 == 1 {
			v ^= mtTwist
		}
		r.state[i] = v
	}
	r.next = 0
}

// permutation shuffles 0..n-1 as np.random.permutation does: Fisher-Yates with
// masked rejection.
func (r *numpyRandom) permutation(n int) []int {
	p := make([]int, n)
	for i := range p {
		p[i] = i
	}
	for i := n - 1; i > 0; i-- {
		mask := uint32(i)
		for s := 1; s < 32; s <<= 1 {
			mask |= mask >> s
		}
		j := r.uint32() & mask
		for j > uint32(i) {
			j = r.uint32() & mask
		}
		p[i], p[j] = p[j], p[i]
	}
	return p
}

// NumpyPermutation is what np.random.permutation(n) gives after np.random.seed(seed).
func NumpyPermutation(seed uint32, n int) []int {
	r := newNumpyRandom(seed)
	return r.permutation(n)
}
