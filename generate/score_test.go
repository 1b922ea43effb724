package generate

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/model/modeltest"
)

// TestFilter: a filter that changes nothing leaves answers as they are, drawn ones too; what it masks never comes, and
// its error ends the answer. Sessions of a batch have the same.
func TestFilter(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	m := modeltest.Load(t, dev, modeltest.Architectures()[0])
	prompt := modeltest.Sequence(9)
	batch := newBatch(t, BatchOptions{RowWise: true})
	for _, sampling := range []Sampling{{}, {Temp: 1, TopP: 0.9}} {
		o := Options{MaxTokens: 8, Sampling: sampling, Seed: 3}
		_, want, _ := answer(t, newSession(t, m, 0), prompt, o)
		o.Filter = func([]int32, []float32) error { return nil }
		if _, got, _ := answer(t, newSession(t, m, 0), prompt, o); !slices.Equal(got, want) {
			t.Errorf("%+v: %v with an idle filter, %v without", sampling, got, want)
		}
		seen := 0
		o.Filter = func(answer []int32, logits []float32) error {
			if len(answer) != seen || len(logits) != m.Config.VocabSize {
				t.Errorf("filter of %d tokens and %d logits, want %d and %d", len(answer), len(logits), seen, m.Config.VocabSize)
			}
			seen++
			for _, id := range want {
				logits[id] = Masked
			}
			return nil
		}
		s, err := batch.Session(m)
		if err != nil {
			t.Fatal(err)
		}
		_, got, _ := answer(t, s, prompt, o)
		s.Close()
		if len(got) != 8 || slices.ContainsFunc(got, func(id int32) bool { return slices.Contains(want, id) }) {
			t.Errorf("%+v: %v has a masked token of %v", sampling, got, want)
		}
	}
	stop := errors.New("stop")
	s := newSession(t, m, 0)
	_, _, err := s.Answer(context.Background(), newTokenizer(t), prompt, Options{MaxTokens: 3, Filter: func([]int32, []float32) error { return stop }})
	if !errors.Is(err, stop) {
		t.Errorf("the filter's error came as %v", err)
	}
}

// TestScore: the logits after each token are those that a session has that reads so far.
func TestScore(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	m := modeltest.Load(t, dev, modeltest.Architectures()[0])
	prompt := modeltest.Sequence(7)
	batch := newBatch(t, BatchOptions{Exact: true})
	s, err := batch.Session(m)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const tolerance = 1e-4 // float32, products of other sizes
	next := 0
	err = s.Score(t.Context(), prompt, Options{PrefillStep: 3}, func(i int, logits []float32) error {
		if i != next {
			t.Errorf("token %d came, want %d", i, next)
		}
		next++
		alone, err := NewSession(m, 0, true)
		if err != nil {
			return err
		}
		defer alone.Close()
		want, err := alone.Prefill(t.Context(), prompt[:i+1], 0)
		modeltest.Alike(t, "logits", logits, want, tolerance)
		return err
	})
	if err != nil || next != len(prompt) {
		t.Errorf("%d of %d tokens, %v", next, len(prompt), err)
	}
	if n := s.Shared(append(prompt, 1)); n != len(prompt) {
		t.Errorf("the session remembers %d tokens, want %d", n, len(prompt))
	}
}
