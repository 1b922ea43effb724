package making

import (
	"context"
	"math"
	"slices"

	"github.com/lentil-lm/lentil/fault"
)

// An Embedder gives vectors of length 1 for texts: those of the model's own, say.
type Embedder func(ctx context.Context, text string) ([]float32, error)

// Numbers of the search by vectors.
const (
	// alikeMeaning is the cosine, of vectors without their mean, from which on two facts count as the same. With SmolLM2-135M on
	// 260 rows of diet-and-health, 99.9 % of the pairs of different facts were below 0.83, all that sameFact lets through
	// below 0.87, and of the pairs of wordings of one fact half were above 0.78, a tenth above 0.98.
	alikeMeaning = 0.9
	mostVectors  = 20_000 // facts that are compared: their number squared
)

// meanings tags facts that say the same as an earlier one in other words, by the model's vectors. Where words alone have
// told that already nothing changes. Facts with other figures, or of other things, are not the same, however near they lie.
func (m *maker) meanings(ctx context.Context) error {
	if m.opt.Embed == nil {
		return nil
	}
	if len(m.facts) > mostVectors {
		m.warn(fault.Say("vectors of %d facts of %d are compared", mostVectors, len(m.facts)))
	}
	facts := m.facts[:min(len(m.facts), mostVectors)]
	vectors := make([][]float32, len(facts))
	for i, f := range facts {
		v, err := m.opt.Embed(ctx, f.asks[1]+" "+f.answers[0])
		if err != nil {
			return err
		}
		vectors[i] = v
	}
	center(vectors)
	for i, f := range facts {
		if f.near != nil {
			continue
		}
		best := float64(alikeMeaning)
		for k, first := range facts[:i] {
			if c := dot(vectors[i], vectors[k]); c >= best && sameFact(f, first) {
				best, f.near, f.byMeaning = math.Nextafter(c, 2), first, true
			}
		}
	}
	return nil
}

// sameFact tells whether nothing speaks against two facts being one. Cells of tables are told apart by their rows and columns, and
// what rules found at one place by the rules.
func sameFact(a, b *fact) bool {
	if a.model == "" && b.model == "" && (a.by == "table" && b.by == "table" || a.passage == b.passage && a.block == b.block) {
		return false
	}
	if a.about != "" && b.about != "" && key(a.about) != key(b.about) {
		return false
	}
	values := func(f *fact) (out []float64) {
		for _, n := range figuresOf(f.answers[0]) {
			out = append(out, n.value)
		}
		slices.Sort(out)
		return out
	}
	return slices.Equal(values(a), values(b))
}

// center takes the mean off vectors, which those of a language model have mostly in common, and makes their length 1 again.
func center(vectors [][]float32) {
	if len(vectors) < 2 {
		return
	}
	mean := make([]float64, len(vectors[0]))
	for _, v := range vectors {
		for d, x := range v {
			mean[d] += float64(x) / float64(len(vectors))
		}
	}
	for _, v := range vectors {
		sum := 0.0
		for d := range v {
			v[d] -= float32(mean[d])
			sum += float64(v[d]) * float64(v[d])
		}
		if sum > 0 {
			scale := float32(1 / math.Sqrt(sum))
			for d := range v {
				v[d] *= scale
			}
		}
	}
}

func dot(a, b []float32) float64 {
	sum := float32(0)
	for i, x := range a {
		sum += x * b[i]
	}
	return float64(sum)
}
