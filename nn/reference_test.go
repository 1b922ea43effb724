package nn

import (
	"math"
	"slices"
)

// The parts of a model in float64, as their papers define them: loops and nothing else.

// rows64 are the tokens of an activation or the rows of a weight.
type rows64 [][]float64

// widen cuts values into rows of cols.
func widen(values []float32, cols int) rows64 {
	var out rows64
	for part := range slices.Chunk(values, cols) {
		row := make([]float64, cols)
		for i, v := range part {
			row[i] = float64(v)
		}
		out = append(out, row)
	}
	return out
}

// flat are the values of all rows.
func (x rows64) flat() []float64 { return slices.Concat(x...) }

// transposed are the columns.
func (x rows64) transposed() rows64 {
	out := make(rows64, len(x[0]))
	for i := range out {
		for _, row := range x {
			out[i] = append(out[i], row[i])
		}
	}
	return out
}

// each makes a row from every row and its index.
func (x rows64) each(f func(i int, row []float64) []float64) rows64 {
	out := make(rows64, len(x))
	for i, row := range x {
		out[i] = f(i, row)
	}
	return out
}

// linear64 is x Wᵀ + bias.
func linear64(x, w rows64, bias []float64) rows64 {
	return x.each(func(_ int, row []float64) []float64 {
		y := make([]float64, len(w))
		for o := range w {
			for i, v := range row {
				y[o] += v * w[o][i]
			}
			if bias != nil {
				y[o] += bias[o]
			}
		}
		return y
	})
}

// updated64 is W + scale·(A B)ᵀ for A [in, r] and B [r, out].
func updated64(w, a, b rows64, scale float64) rows64 {
	return w.each(func(o int, row []float64) []float64 {
		y := slices.Clone(row)
		for i := range y {
			for r := range b {
				y[i] += scale * a[i][r] * b[r][o]
			}
		}
		return y
	})
}

func add64(a, b rows64) rows64 {
	return a.each(func(i int, row []float64) []float64 {
		y := slices.Clone(row)
		for k, v := range b[i] {
			y[k] += v
		}
		return y
	})
}

// rmsNorm64 normalizes every run of len(w) values.
func rmsNorm64(x rows64, w []float64, eps float64) rows64 {
	return x.each(func(_ int, row []float64) []float64 {
		var y []float64
		for run := range slices.Chunk(row, len(w)) {
			var squares float64
			for _, v := range run {
				squares += v * v
			}
			for i, v := range run {
				y = append(y, v/math.Sqrt(squares/float64(len(w))+eps)*w[i])
			}
		}
		return y
	})
}

// rope64 turns the first pairs of each head as complex numbers by position·frequency.
func rope64(x rows64, positions []int32, frequencies []float64, headDim int, traditional bool) rows64 {
	return x.each(func(t int, row []float64) []float64 {
		y := slices.Clone(row)
		for h := 0; h < len(row); h += headDim {
			for i, f := range frequencies {
				re, im := h+i, h+i+len(frequencies)
				if traditional {
					re, im = h+2*i, h+2*i+1
				}
				s, c := math.Sincos(float64(positions[t]) * f)
				z := complex(row[re], row[im]) * complex(c, s)
				y[re], y[im] = real(z), imag(z)
			}
		}
		return y
	})
}

// attention64 lets each token look at those from its sequence's start on, or at the
// newest window of them.
func attention64(q, k, v rows64, a *GQA, bounds []int32) rows64 {
	dim := a.HeadDim
	return q.each(func(t int, row []float64) []float64 {
		first := 0
		for _, b := range bounds {
			if int(b) <= t {
				first = int(b)
			}
		}
		if a.Window > 0 {
			first = max(first, t-a.Window+1)
		}
		y := make([]float64, len(row))
		for h := range a.Heads {
			kv, sum := h*a.KVHeads/a.Heads*dim, 0.0
			for s := first; s <= t; s++ {
				var dot float64
				for d := range dim {
					dot += row[h*dim+d] * k[s][kv+d]
				}
				p := math.Exp(dot * float64(a.Scale))
				sum += p
				for d := range dim {
					y[h*dim+d] += p * v[s][kv+d]
				}
			}
			for d := range dim {
				y[h*dim+d] /= sum
			}
		}
		return y
	})
}

// swiglu64 is silu(gate) · up.
func swiglu64(gate, up rows64) rows64 {
	return gate.each(func(i int, row []float64) []float64 {
		y := make([]float64, len(row))
		for k, g := range row {
			y[k] = g / (1 + math.Exp(-g)) * up[i][k]
		}
		return y
	})
}

// route64 picks the k experts with the largest logits, and their shares of the softmax
// over all, or over those that are picked.
func route64(logits []float64, k int, normalize bool) (ids []int, scores []float64) {
	for e := range logits {
		ids = append(ids, e)
	}
	slices.SortStableFunc(ids, func(a, b int) int {
		switch {
		case logits[a] > logits[b]:
			return -1
		case logits[a] < logits[b]:
			return 1
		}
		return 0
	})
	var sum float64
	for i, e := range ids {
		if i < k || !normalize {
			sum += math.Exp(logits[e])
		}
	}
	ids = ids[:k]
	for _, e := range ids {
		scores = append(scores, math.Exp(logits[e])/sum)
	}
	return ids, scores
}
