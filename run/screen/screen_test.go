package screen

import (
	"math"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/run"
)

// The expected lines are mlx-lm's up to version 0.31.
func TestClassicLines(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	c := NewClassic(&out)
	for _, e := range []run.Event{
		run.Start{Title: "tiny · lora", Model: "m", AdapterPath: "adapters", FirstIteration: 1, Iterations: 20, TrainableParams: 3e6, TotalParams: 9e6},
		run.Validation{Iteration: 1, Loss: 2.936, Seconds: 5.265},
		run.TrainReport{Iteration: 10, TrainLoss: 2.662, LearningRate: 1e-5, IterationsPerSecond: .49, TokensPerSecond: 161.374, TrainedTokens: 3290, PeakMemory: 9.707},
		run.Saved{Iteration: 100, Path: "a/adapters.safetensors", Checkpoint: "a/0000100_adapters.safetensors"},
		run.Saved{Iteration: 120, Path: "a/adapters.safetensors"},
		run.TestReport{Loss: 1.5, Perplexity: 4.4817, Tokens: 900},
		run.Validation{Iteration: 1, Loss: .693, Seconds: 1, Figures: run.Figures{{Name: run.RewardsMargins, Value: .01234}, {Name: run.RewardsAccuracies, Value: 1}}},
		run.TestReport{Loss: .5, Perplexity: math.NaN(), Figures: run.Figures{{Name: run.RewardsAccuracies, Value: .75}}},
		run.Message{Text: fault.Say("%s", "Loading datasets")},
		run.Warning{Text: fault.Say("%s", "a <tag> & a \"quote\"")},
		run.End{Outcome: run.Interrupted, Iteration: 120, Seconds: 12.5},
		run.Progress{Task: "x", Done: 1, Total: 2},
		run.Step{Iteration: 1, Loss: 2, Tokens: 3},
	} {
		c.Report(e)
	}
	c.Close()
	want := `Trainable parameters: 33.333% (3.000M/9.000M)
Starting training..., iters: 20
Iter 1: Val loss 2.936, Val took 5.265s
Iter 10: Train loss 2.662, Learning Rate 1.000e-05, It/sec 0.490, Tokens/sec 161.374, Trained Tokens 3290, Peak mem 9.707 GB
Iter 100: Saved adapter weights to a/adapters.safetensors and a/0000100_adapters.safetensors.
Saved final weights to a/adapters.safetensors.
Test loss 1.500, Test ppl 4.482.
Iter 1: Val loss 0.693, Val took 1.000s, rewards/margins 0.01234, rewards/accuracies 1
Test loss 0.500, rewards/accuracies 0.75.
Loading datasets
Warning: a <tag> & a "quote"
Interrupted after iteration 120, 13s.
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		count(950): "950", count(3290): "3.3k", count(999_999): "1.0M", count(12_300_000): "12.3M",
		flops(4.2e11): "420 GFLOP", flops(1.5e12): "1.5 TFLOP",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
