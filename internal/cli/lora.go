package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/train"
	"github.com/lentil-lm/lentil/tune"
)

// newLoRA makes `lentil lora`, or one of its short names: `lentil train` is `lora --train`, `lentil test`
// is `lora --test`. work does what the options ask for.
func newLoRA(streams Streams, name string, work func(context.Context, Streams, *loraOptions) error) *cobra.Command {
	o := &loraOptions{}
	cmd := &cobra.Command{Use: name, GroupID: groupTrain, Args: noArguments}
	o.declare(cmd)
	switch name {
	case "train":
		cmd.Short = "Fine-tune a model (lora --train)"
		cmd.Long = "Fine-tune a model on your data. The same as `lentil lora --train`."
		cmd.Example = `  lentil train --model ./model --data ./data --iters 600 --mask-prompt
  lentil train --config lora.yaml --learning-rate 2e-5`
	case "test":
		cmd.Short = "Measure the loss on the test set (lora --test)"
		cmd.Long = "Measure loss and perplexity on the test set. The same as `lentil lora --test`."
		cmd.Example = `  lentil test --model ./model --adapter-path ./adapters --data ./data
  lentil test --model ./model --adapter-path "" --data ./data    # without an adapter`
	default:
		cmd.Short = "Fine-tune a model, or test it, with mlx-lm's flags"
		cmd.Long = `Fine-tune a model (--train), measure its loss on a test set (--test), or both.
Before the first step it tells what the run will need. Ctrl-C finishes the step and
saves; a second one gives the step up and saves; a third ends at once. The same
command goes on from the last save, also after a crash, and trains what a run
without a stop would have trained, to the bit.

A config has any of the flags, with dashes as underscores, but --resume, --overwrite
and --json. Those for the adapter are parts of lora_parameters there, and schedules
and options of optimizers stand in configs alone:
  lora_parameters: {rank: 16, scale: 20.0, dropout: 0.0, keys: [self_attn.q_proj]}
  lr_schedule: {name: cosine_decay, warmup: 50, arguments: [1e-4, 950, 1e-6]}
  optimizer_config: {adamw: {weight_decay: 0.01}}

A test measures as its adapter was trained (--mask-prompt, --max-seq-length) unless
told otherwise.`
		cmd.Example = `  lentil lora --model ./model --data ./data --train --fine-tune-type lora --batch-size 4 \
      --num-layers 16 --iters 1000 --adapter-path ./adapters --mask-prompt
  lentil lora --model ./model --data ./pairs --train --train-mode dpo --beta 0.1
  lentil lora --model ./model --adapter-path ./adapters --data ./data --test
  lentil lora --config lora.yaml --train`
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch name {
		case "train":
			o.Train = true
		case "test":
			o.Test = true
		}
		if err := o.resolve(cmd.Context(), cmd.Flags(), streams); err != nil {
			return err
		}
		return work(cmd.Context(), streams, o)
	}
	return cmd
}

// loraFigures is what lora's --json writes. Figures that were not measured are null.
type loraFigures struct {
	AdapterPath   string  `json:"adapter_path"`
	Iterations    int     `json:"iterations"`
	TrainLoss     any     `json:"train_loss"`
	ValLoss       any     `json:"val_loss"`
	TestLoss      any     `json:"test_loss"`
	TestPPL       any     `json:"test_ppl"`
	TrainedTokens int64   `json:"trained_tokens"`
	Seconds       float64 `json:"seconds"`
	PeakBytes     int64   `json:"peak_bytes"`
	// What an objective tells beside the loss: of the last report, validation and test.
	TrainFigures run.Figures `json:"train_figures,omitempty"`
	ValFigures   run.Figures `json:"val_figures,omitempty"`
	TestFigures  run.Figures `json:"test_figures,omitempty"`
}

// Report takes the figures of events.
func (f *loraFigures) Report(e run.Event) {
	switch e := e.(type) {
	case run.TrainReport:
		f.TrainFigures = e.Figures
	case run.Validation:
		f.ValFigures = e.Figures
	case run.TestReport:
		f.TestFigures = e.Figures
	}
}

func runLoRA(ctx context.Context, streams Streams, o *loraOptions) error {
	began := time.Now()
	display := streams.display()
	defer display.Close()
	var f loraFigures
	options := streams.tuning(run.Multi(display, &f))
	options.Resume, options.Overwrite = o.resume, o.overwrite
	if o.Train {
		options.Abandon = streams.presses.abandoning()
	}
	options.Given = func(setting string) bool { return o.given[setting] }
	var err error
	if o.Train && o.EvalQuestions != "" {
		if options.Ask, err = asking(o.EvalQuestions); err != nil {
			return err
		}
	}
	result, err := tune.Run(ctx, o.Recipe, options)
	if o.Train && result.Trained != nil {
		writeReport(streams, o.AdapterPath)
	}
	if o.Train && err == nil {
		display.Close()
		sayWhatNext(streams, o.AdapterPath)
	}
	if errors.Is(err, train.ErrInterrupted) {
		return fmt.Errorf("%w: %w", errSaid, err)
	}
	if err != nil {
		return err
	}
	f.AdapterPath, f.Seconds, f.PeakBytes = o.AdapterPath, time.Since(began).Seconds(), result.PeakBytes
	if t := result.Trained; t != nil {
		f.Iterations, f.TrainedTokens, f.TrainLoss, f.ValLoss = t.Iterations, t.TrainedTokens, figure(t.TrainLoss), figure(t.ValLoss)
	}
	if t := result.Tested; t != nil {
		f.TestLoss, f.TestPPL = figure(t.Loss), figure(t.Perplexity())
	}
	return writeFigures(o.JSON, f)
}

// tuning are the options of a run that report hears.
func (s Streams) tuning(report run.Reporter) tune.Options {
	return tune.Options{Report: report, Download: s.opening(0).Download, Version: Version(), Command: os.Args}
}
