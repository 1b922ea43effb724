package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// A work is one row of the report: sides that do the same.
type work struct {
	name  string
	unit  string // of the figure, "tokens/s"
	lower bool   // less is better
	goal  string // what Lentil is to reach
	sides []side
}

// A side measures once and returns its figure. Lentil is the first.
type side struct {
	name string
	run  func(ctx context.Context) (float64, error)
}

// A result has the figures of all rounds of each side.
type result struct {
	work
	figures [][]float64
	failed  []error // of each side; such a side has no figures
}

// measure goes round by round through the sides, so that a change in the
// machine's speed meets all of them.
func (h *harness) measure(ctx context.Context, w work, rounds int) (result, error) {
	r := result{work: w, figures: make([][]float64, len(w.sides)), failed: make([]error, len(w.sides))}
	for round := range rounds {
		h.round = round
		for i, s := range w.sides {
			if r.failed[i] != nil {
				continue
			}
			v, err := s.run(ctx)
			if ctx.Err() != nil {
				return r, ctx.Err()
			}
			if err != nil {
				fmt.Fprintf(h.log, "%s, %s: %v\n", w.name, s.name, err)
				r.failed[i], r.figures[i] = err, nil
				continue
			}
			fmt.Fprintf(h.log, "%s, round %d, %s: %.4g %s\n", w.name, round+1, s.name, v, w.unit)
			r.figures[i] = append(r.figures[i], v)
		}
	}
	return r, nil
}

// Failures that the report tells; the log has the others.
var (
	errAbsent = errors.New("not installed")
	errSlow   = errors.New("given up: over the time limit")
)

// median is the middle figure, or the mean of the two in the middle.
func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	if n == 0 {
		return 0
	}
	return (v[n/2] + v[(n-1)/2]) / 2
}
