package train

import "math"

// A trend compares the loss of a few steps at a time with what was measured before the
// first update, to find a learning rate that makes the model worse.
type trend struct {
	before []before
	steps  int // since the last comparison
	sum    float64
	square float64 // sum of squares
	told   bool    // the user knows
}

// before is a mean loss before the first update.
type before struct {
	loss    float64
	batches int // that it is the mean of
}

const (
	trendSteps = 10 // that are compared: single batches differ by chance
	fewSteps   = 5  // that are enough at the end of a run
	// A rise is told when it is larger than these: a validation set may be easier than the
	// training set, and chance moves means by a few standard errors.
	leastRise      = 0.1 // of the loss
	standardErrors = 2.5
)

// measured takes a loss from before the first update.
func (t *trend) measured(loss float64, batches int) {
	t.before = append(t.before, before{loss, batches})
}

// add takes the loss of a step. It returns from what to what the loss has risen, if it
// has, for the first time.
func (t *trend) add(loss float64, last bool) (from, to float64, risen bool) {
	t.sum += loss
	t.square += loss * loss
	if t.steps++; t.steps < trendSteps && !(last && t.steps >= fewSteps) {
		return 0, 0, false
	}
	n := float64(t.steps)
	to = t.sum / n
	variance := max(0, t.square-n*to*to) / (n - 1) // of the loss of a batch
	t.sum, t.square, t.steps = 0, 0, 0
	risen = !t.told && len(t.before) > 0
	for _, b := range t.before {
		from = max(from, b.loss)
		chance := standardErrors * math.Sqrt(variance/n+variance/float64(b.batches))
		risen = risen && to-b.loss > max(chance, leastRise*b.loss)
	}
	t.told = t.told || risen
	return from, to, risen
}
