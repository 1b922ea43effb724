package computetest

import (
	"math"

	"github.com/lentil-lm/lentil/compute"
)

// A tolerance is how far a device may be from the definition: this share of the value
// itself or of the root mean square of the whole output, whichever is larger. Random
// inputs make all values of an output alike in size, and a sum that happens to cancel
// is as inexact as its neighbours.
type tolerance float64

// eps is the distance from 1 to the next float32.
const eps = 1.0 / (1 << 23)

const (
	// exact: the op moves or rounds numbers in one defined way.
	exact tolerance = 0
	// rounded: a few float32 operations, in another order or fused.
	rounded tolerance = 4 * eps
	// approximated: as rounded, with an exp, tanh, sine or root whose vector form may
	// be a few units in the last place off.
	approximated tolerance = 32 * eps
	// int8Activations: x rounded to 8 bits in groups of 32 to 128 values. The largest
	// value of a group is 2 to 3 standard deviations, so a step is about 2.6/127 of one
	// and its rounding error 1/sqrt(12) of a step: 0.6 % of a typical value, hence of
	// |x|·|row of W|/sqrt(K), the typical output. Seven times that covers every output
	// of a few thousand, and cases of few outputs that all happen to be small.
	int8Activations tolerance = 0.042
)

// activationTolerance is added where activations have a type of fewer bits: a unit in the
// last place, since sums that differ in float32 may round to neighbours, and half of one
// for factors that tensor cores take in that type (probabilities, matrices of adapters).
func activationTolerance(t compute.DType) tolerance {
	switch t {
	case compute.BF16:
		return 1.5 / (1 << 7)
	case compute.F16:
		return 1.5 / (1 << 10)
	}
	return 0
}

// summed is for float32 sums over n terms of mixed sign. Rounding errors of the partial
// sums walk at random, sqrt(n) steps of eps, on the device and in the definition.
func summed(n int) tolerance { return tolerance((8 + 4*math.Sqrt(float64(n))) * eps) }

// attended is for attention over keys keys of size dim. A score is an exponent, so its
// error is relative to the probability. Scores reach about 4.
func attended(dim, keys int) tolerance { return 4*summed(dim) + summed(keys) + approximated }

// worst compares got with want, which is finite, element by element and returns
// the index of the largest violation of the tolerance, or -1.
func (tol tolerance) worst(got, want []float32) int {
	var sum float64
	for _, w := range want {
		sum += float64(w) * float64(w)
	}
	rms := math.Sqrt(sum / float64(max(len(want), 1)))
	at, most := -1, 0.0
	for i := range want {
		g, w := float64(got[i]), float64(want[i])
		over := math.Abs(g-w) - float64(tol)*max(math.Abs(w), rms)
		if math.IsNaN(over) {
			return i
		}
		if over > most {
			at, most = i, over
		}
	}
	return at
}

// finite returns the index of the first value that is not, or -1.
func finite(v []float32) int {
	for i, x := range v {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return i
		}
	}
	return -1
}
