package tune

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/train"
)

// TestWorkersTogether: two workers of a recipe give the losses of one, the first alone writes the folder, and after a stop
// they go on as if there had been none.
func TestWorkersTogether(t *testing.T) {
	t.Parallel()
	const tolerance = 1e-6 // of losses: sums in another order
	r := demoRecipe(t)
	r.GradAccumulation, r.LearningRate = 2, 1e-4
	// together runs two workers until one of them has done some steps, and returns what they told.
	together := func(r Recipe, stop int) [2]events {
		var told [2]events
		var failed [2]error
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var all sync.WaitGroup
		for rank, reduce := range train.Group(2) {
			all.Go(func() {
				own := t.Context()
				if rank == 1 {
					own = ctx
				}
				_, failed[rank] = Run(own, r, Options{Reduce: reduce, Report: reporter(func(e run.Event) {
					told[rank].Report(e)
					if s, ok := e.(run.Step); ok && rank == 1 && s.Iteration == stop {
						cancel()
					}
				})})
			})
		}
		all.Wait()
		for rank, err := range failed {
			if err != nil && !(stop > 0 && errors.Is(err, train.ErrInterrupted)) {
				t.Fatalf("worker %d: %v", rank, err)
			}
		}
		return told
	}
	one := r
	one.AdapterPath = filepath.Join(t.TempDir(), "one")
	if _, err := Run(t.Context(), one, Options{}); err != nil {
		t.Fatal(err)
	}
	whole := r
	whole.AdapterPath = filepath.Join(t.TempDir(), "whole")
	together(whole, 0)
	numbers := func(dir string) (names []string, losses []float64) {
		for _, text := range lossesOf(t, dir) {
			var loss float64
			at := strings.LastIndex(text, " ")
			if _, err := fmt.Sscan(text[at:], &loss); err != nil {
				t.Fatal(err)
			}
			names, losses = append(names, text[:at]), append(losses, loss)
		}
		return names, losses
	}
	names, want := numbers(one.AdapterPath)
	others, got := numbers(whole.AdapterPath)
	if fmt.Sprint(names) != fmt.Sprint(others) {
		t.Fatalf("logged %v, of one worker %v", others, names)
	}
	for i, loss := range got {
		if !(math.Abs(loss-want[i]) <= tolerance*want[i]) {
			t.Errorf("%s %v, of one worker %v", names[i], loss, want[i])
		}
	}
	together(r, 3)
	told := together(r, 0)
	if first := told[1].start(); first.FirstIteration != 3 { // gradients of the third iteration wait: it is done again
		t.Errorf("goes on with iteration %d", first.FirstIteration)
	}
	os.Remove(filepath.Join(r.AdapterPath, "0000003_adapters.safetensors"))
	sameFiles(t, "stopped", r.AdapterPath, whole.AdapterPath)
	for rank, told := range together(r, 0) {
		if told.text("The run in") == "" {
			t.Errorf("worker %d, again: %v", rank, told.kinds())
		}
	}
	// What one cannot do, none does.
	r.AdapterPath = filepath.Join(t.TempDir(), "other")
	group := train.Group(2)
	var failed [2]error
	var all sync.WaitGroup
	for rank := range 2 {
		r := r
		r.Iters += rank
		all.Go(func() { _, failed[rank] = Run(t.Context(), r, Options{Reduce: group[rank]}) })
	}
	all.Wait()
	for rank, err := range failed {
		if err == nil {
			t.Errorf("worker %d of two with other settings: no error", rank)
		}
	}
}

func (e events) start() (s run.Start) {
	for _, event := range e {
		if start, ok := event.(run.Start); ok {
			s = start
		}
	}
	return s
}
