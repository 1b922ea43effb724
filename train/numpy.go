package train

import "github.com/lentil-lm/lentil/internal/mersenne"

// numpyRandom is NumPy's legacy generator, whose permutations decide the order of mlx-lm's batches: two runs with one seed see
// one order.
type numpyRandom = mersenne.Random

func newNumpyRandom(seed uint32) numpyRandom { return *mersenne.New(seed) }

// NumpyPermutation is what np.random.Permutation(n) gives after np.random.seed(seed).
func NumpyPermutation(seed uint32, n int) []int { return mersenne.New(seed).Permutation(n) }
