package train

// numpyRandom is NumPy's legacy generator (MT19937), whose permutations decide
// the order of mlx-lm's batches. Two runs with one seed see one order.
type numpyRandom struct {
	state [624]uint32
	next  int
}

func newNumpyRandom(seed uint32) *numpyRandom {
	r := &numpyRandom{next: 624}
	r.state[0] = seed
	for i := 1; i < len(r.state); i++ {
		r.state[i] = 1812433253*(r.state[i-1]^(r.state[i-1]>>30)) + uint32(i)
	}
	return r
}

// uint32 draws one tempered word (Matsumoto and Nishimura, 1998).
func (r *numpyRandom) uint32() uint32 {
	if r.next == len(r.state) {
		r.refill()
	}
	y := r.state[r.next]
	r.next++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

func (r *numpyRandom) refill() {
	const upper, lower = 0x80000000, 0x7fffffff
	n := len(r.state)
	for i := range r.state {
		y := r.state[i]&upper | r.state[(i+1)%n]&lower
		v := r.state[(i+397)%n] ^ y>>1
		if y&1 == 1 {
			v ^= 0x9908b0df
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
func NumpyPermutation(seed uint32, n int) []int { return newNumpyRandom(seed).permutation(n) }
