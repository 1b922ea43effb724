package train

import "github.com/lentil-lm/lentil/model"

// references keep what the reference model gives for the sequences of a split, which never
// changes: from the second epoch on no reference runs. Like what is kept of frozen layers
// (see FrozenCache) it changes no loss by a bit; a sequence takes 4 bytes.
type references struct {
	small int             // the most tokens of a batch that is computed anew
	sums  map[int]float32 // Σ nll of an answer, by the number of its sequence
}

// newReferences returns nil when there is nothing to gain, and where the batch of a sequence
// shows in its numbers.
func newReferences(m *model.Model, o Objective, again bool) *references {
	if !again || !o.reference() || !batchInvariant(m) {
		return nil
	}
	return &references{small: m.Device().Info().SmallBatch, sums: map[int]float32{}}
}

// load gives those of a batch [S], or nil if one is missing.
func (r *references) load(b *packed) []float32 {
	if r == nil || len(b.Tokens) <= r.small {
		return nil
	}
	out := make([]float32, len(b.index))
	for i, k := range b.index {
		v, ok := r.sums[k]
		if !ok {
			return nil
		}
		out[i] = v
	}
	return out
}

// keep takes those of a batch [S].
func (r *references) keep(b *packed, sums []float32) {
	if r == nil || len(b.Tokens) <= r.small || len(sums) != len(b.index) {
		return
	}
	for i, k := range b.index {
		r.sums[k] = sums[i]
	}
}
