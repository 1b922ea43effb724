package train

import (
	"context"
	"errors"
	"slices"
	"testing"
)

// TestAsk: the model is asked before the first step, every so many iterations and at the end, and training is the same to the bit.
func TestAsk(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	run := func(every int, ask func(ctx context.Context, done int) error) (Result, error) {
		tr, _ := newTrainer(t, dev, options())
		tr.Options.Iters = 7
		tr.Ask, tr.AskEvery = ask, every
		return tr.Run(t.Context())
	}
	plain, err := run(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	for every, want := range map[int][]int{0: {0, 7}, 3: {0, 3, 6, 7}, 7: {0, 7}} {
		var got []int
		asked, err := run(every, func(_ context.Context, done int) error {
			got = append(got, done)
			return nil
		})
		if err != nil || !slices.Equal(got, want) || asked.TrainLoss != plain.TrainLoss {
			t.Errorf("every %d: asked at %v, want %v; loss %v, want %v; %v", every, got, want, asked.TrainLoss, plain.TrainLoss, err)
		}
	}
	broken := errors.New("broken")
	if got, err := run(3, func(_ context.Context, done int) error {
		if done == 3 {
			return broken
		}
		return nil
	}); !errors.Is(err, broken) || got.Iterations != 3 {
		t.Errorf("%d iterations, %v", got.Iterations, err)
	}
}
