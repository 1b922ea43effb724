package cli

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/eval"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/train"
	"github.com/lentil-lm/lentil/tune"
)

type perplexityOptions struct {
	Model, AdapterPath string
	TrustRemoteCode    bool
	DataPath, Split    string
	MaskPrompt         bool
	SequenceLength     int
	NumSamples         int
	BatchSize          int
	Seed               int64
	deviceFlags
	JSON string
}

func newPerplexity(streams Streams) *cobra.Command {
	var o perplexityOptions
	cmd := &cobra.Command{
		Use:   "perplexity",
		Short: "Measure how well a model predicts a text",
		Long: `Measure a model's perplexity, with or without an adapter, on a text file or a dataset.
Samples are drawn as mlx-lm draws them, so that figures can be compared: rows in the
order that --seed gives, one behind the other, cut every --sequence-length tokens.
With --mask-prompt only answers count, and each row stands by itself.`,
		Example: `  lentil perplexity --model ./model --data-path book.txt
  lentil perplexity --model ./model --data-path ./data --split test --num-samples -1
  lentil perplexity --model ./model --adapter-path ./adapters --data-path ./data --split test --mask-prompt`,
		GroupID: groupTrain,
		Args:    noArguments,
	}
	group(cmd, "Model and data", func(f *pflag.FlagSet) {
		f.StringVar(&o.Model, "model", "", "`folder` or .gguf file of the model, or its repository (required)")
		f.StringVar(&o.AdapterPath, "adapter-path", "", "`folder` of an adapter to put on it")
		f.StringVar(&o.DataPath, "data-path", "allenai/tulu-3-sft-mixture", "text `file`, or dataset as lora's --data takes it")
		f.StringVar(&o.Split, "split", "train", "`part` of the dataset: train (mlx-lm's choice), valid or test")
		f.BoolVar(&o.MaskPrompt, "mask-prompt", false, "count the loss of the answer only, each row by itself")
		f.BoolVar(&o.TrustRemoteCode, "trust-remote-code", false, "")
		ignore(f.Lookup("trust-remote-code"), noRemoteCode)
	})
	group(cmd, "Samples", func(f *pflag.FlagSet) {
		f.IntVar(&o.SequenceLength, "sequence-length", 512, "`tokens` of a sample")
		f.IntVar(&o.NumSamples, "num-samples", 256, "measure `n` samples at most; -1 for all")
		f.Int64Var(&o.Seed, "seed", 123, "`number` that the order of rows follows from")
		f.IntVar(&o.BatchSize, "batch-size", 8, "`samples` at a time")
	})
	group(cmd, "Engine", func(f *pflag.FlagSet) {
		o.deviceFlags.declare(f)
		f.StringVar(&o.JSON, "json", "", "also write the figures to this `file`")
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := o.check(); err != nil {
			return err
		}
		return runPerplexity(cmd.Context(), streams, o)
	}
	return cmd
}

func (o *perplexityOptions) check() error {
	switch {
	case o.Model == "":
		return fault.Missing("model").Try("Give the folder of a model, a .gguf file, or a repository ORG/NAME.")
	case o.SequenceLength < 2:
		return fault.Given("sequence_length", o.SequenceLength, "must be at least 2, as the first token of a sample is not predicted")
	case o.BatchSize < 1:
		return fault.Given("batch_size", o.BatchSize, "must be at least 1")
	case o.Seed < 0 || o.Seed > math.MaxUint32:
		return fault.Given("seed", o.Seed, "expected 0 to %d, as NumPy's generator takes them", int64(math.MaxUint32))
	case !slices.Contains([]string{"train", "valid", "test"}, o.Split):
		return fault.Value("split", o.Split, "train, valid or test")
	}
	return nil
}

// perplexityFigures is what perplexity's --json writes. Figures that cannot be told are null.
type perplexityFigures struct {
	Model         string  `json:"model"`
	AdapterPath   string  `json:"adapter_path"`
	DataPath      string  `json:"data_path"`
	Perplexity    any     `json:"perplexity"`
	StandardError any     `json:"standard_error"`
	Loss          any     `json:"loss"`
	Tokens        int64   `json:"tokens"` // predicted
	Samples       int     `json:"samples"`
	Seconds       float64 `json:"seconds"`
	TPS           float64 `json:"tokens_per_second"`
	PeakBytes     int64   `json:"peak_bytes"`
}

func runPerplexity(ctx context.Context, streams Streams, o perplexityOptions) error {
	streams.presses.stopping("Stopping: a part of the measure is no measure, and is not told. Ctrl-C again ends at once.")
	out := streams.Out
	fmt.Fprintf(out, "Loading model from %s...\n", o.Model)
	options := o.opening(streams)
	options.Adapter = o.AdapterPath
	e, err := engine.Open(ctx, o.Model, options)
	if err != nil {
		return err
	}
	defer e.Close()
	_, parameters := e.Model.CountParameters()
	fmt.Fprintf(out, "Model loaded: %.1fM parameters\n\nLoading dataset...\n  Sequence length: %d\n", float64(parameters)/1e6, o.SequenceLength)
	samples, err := o.samples(ctx, streams, e)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "  Loaded %d samples", len(samples))
	if len(samples) < o.NumSamples {
		fmt.Fprint(out, ", all there are")
	}
	fmt.Fprintf(out, "\n\nEvaluating perplexity with batch size %d...\n", o.BatchSize)
	live := streams.outIsTerminal()
	began := time.Now()
	got, err := eval.Measure(ctx, e.Model, samples, eval.Options{BatchSize: o.BatchSize, Progress: func(done, total int) {
		switch line := fmt.Sprintf("  Processed %d/%d batches...", done, total); {
		case live:
			streams.rewrite(line)
		case done == total:
			fmt.Fprint(out, line)
		}
	}})
	fmt.Fprintln(out)
	if err != nil {
		return err
	}
	f := perplexityFigures{
		Model: o.Model, AdapterPath: o.AdapterPath, DataPath: o.DataPath, Perplexity: figure(got.Value()), StandardError: figure(got.StdErr()),
		Loss: figure(got.Loss), Tokens: got.Tokens, Samples: len(samples), Seconds: time.Since(began).Seconds(), PeakBytes: e.PeakMemory(),
	}
	f.TPS = float64(got.Tokens) / f.Seconds
	printPerplexity(out, got, f, samples)
	return writeFigures(o.JSON, f)
}

// printPerplexity prints mlx-lm's lines.
func printPerplexity(out io.Writer, got eval.Perplexity, f perplexityFigures, samples []train.Example) {
	rule := strings.Repeat("=", 60)
	fmt.Fprintf(out, "\n%s\nEVALUATION RESULTS\n%s\nModel: %s\n", rule, rule, f.Model)
	if f.AdapterPath != "" {
		fmt.Fprintf(out, "Adapter: %s\n", f.AdapterPath)
	}
	fmt.Fprintf(out, "Perplexity: %.3f ± %.3f\n", got.Value(), got.StdErr())
	fmt.Fprintf(out, "Evaluation time: %.2f seconds\nPeak memory: %.2f GB\nTokens per second: %.0f\n", f.Seconds, float64(f.PeakBytes)/1e9, f.TPS)
	tokens := 0
	for _, s := range samples {
		tokens += len(s.IDs)
	}
	fmt.Fprintf(out, "\nDataset statistics:\n  Total samples: %d\n  Total tokens: %d\n", len(samples), tokens)
}

// samples reads the data and takes from it what is to be measured.
func (o *perplexityOptions) samples(ctx context.Context, streams Streams, e *engine.Engine) ([]train.Example, error) {
	template, err := e.Template() // none is enough for texts; other rows are refused when they are tokenised
	if err != nil {
		return nil, err
	}
	encoder := dataset.NewEncoder(e.Tokenizer, template, dataset.EncoderOptions{MaskPrompt: o.MaskPrompt})
	rows, err := o.rows(ctx, streams, encoder)
	if err != nil {
		return nil, err
	}
	if !o.MaskPrompt {
		samples, err := eval.Windows(rows, o.SequenceLength, o.NumSamples, uint32(o.Seed))
		if err != nil {
			return nil, fault.Mark(err)
		}
		return samples, nil
	}
	samples, cut, err := eval.Rows(rows, o.SequenceLength, o.NumSamples, uint32(o.Seed))
	if err != nil {
		return nil, fault.Mark(err)
	}
	if cut > 0 {
		fmt.Fprintf(streams.Err, "Warning: %d of %d rows are longer than --sequence-length %d and were cut\n", cut, len(samples), o.SequenceLength)
	}
	return samples, nil
}

// rows opens --data-path: a text file is one row, all else is a dataset.
func (o *perplexityOptions) rows(ctx context.Context, streams Streams, encoder *dataset.Encoder) (train.Examples, error) {
	text, ok, err := textFile(o.DataPath)
	if err != nil {
		return nil, fault.Mark(err)
	}
	if ok {
		item, err := encoder.Encode(dataset.Row{Format: dataset.Text, Text: text})
		if err != nil {
			return nil, fault.Mark(err)
		}
		return train.List{{IDs: item.IDs, Loss: item.Loss}}, nil
	}
	query := tune.DataQuery{Data: o.DataPath, Train: o.Split == "train", Valid: o.Split == "valid", Test: o.Split == "test"}
	splits, err := tune.FindData(ctx, query, streams.tuning(streams.lines()))
	if err != nil {
		return nil, err
	}
	split := map[string]*dataset.Split{"train": splits.Train, "valid": splits.Valid, "test": splits.Test}[o.Split]
	if split.Len() == 0 {
		return nil, fault.Given("data_path", o.DataPath, "it has no rows in its %s set", o.Split).Try("Give another --split.")
	}
	rows, err := encoder.Rows(split)
	if err != nil {
		return nil, fault.Mark(err)
	}
	return train.FromRows(rows), nil
}
