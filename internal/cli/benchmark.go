package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/bench"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/machine"
)

// benchmarkOptions are mlx-lm's flags of benchmark, and Lentil's own.
type benchmarkOptions struct {
	Model            string
	PromptTokens     int
	GenerationTokens int
	BatchSize        int
	Trials           int
	PrefillStep      int
	Delay            float64
	TrustRemoteCode  bool

	Shape, SavePath    string
	QBits, QGroup      int
	Train              bool
	SeqLength, NLayers int
	Rows               []int
	GradCheckpoint     bool
	Exact, Profile     bool
	deviceFlags
	JSON string
}

func newBenchmark(streams Streams) *cobra.Command {
	var o benchmarkOptions
	cmd := &cobra.Command{
		Use:   "benchmark",
		Short: "Measure how fast a model reads, writes or learns",
		Long: `Measure how fast a model reads a prompt and writes an answer, or with --train
how fast it learns, on random tokens. What the arithmetic and the memory
achieved is told beside what this machine was measured to be able to do.
With --shape no model is needed: the weights are random.`,
		Example: `  lentil benchmark --model ./model -p 512 -g 128
  lentil benchmark --shape llama-3.2-1b -p 512 -g 128 --profile
  lentil benchmark --shape smollm2-135m --train --batch-size 4 --seq-length 256 --num-layers -1`,
		GroupID: groupInspect,
		Args:    noArguments,
	}
	o.declare(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, name := range []string{"pipeline", "quantize-activations"} {
			if cmd.Flags().Changed(name) {
				return fault.Of("--%s is not supported in this version", name).Try("Leave it out.")
			}
		}
		if o.Model != "" && o.Shape != "" {
			return fault.Of("--model and --shape are both given").Try("Give one of them.")
		}
		if o.Model == "" && o.Shape == "" {
			o.Model = defaultModel
		}
		switch {
		case o.Rows != nil && !o.Train:
			return fault.Of("--rows goes with --train")
		case o.Rows != nil && (len(o.Rows) == 0 || slices.Min(o.Rows) < 2):
			return fault.Value("rows", o.Rows, "the tokens of each row, 2 or more")
		case o.SavePath != "" && o.Shape == "":
			return fault.Of("--save-path goes with --shape")
		case !(o.Delay >= 0 && o.Delay < 1e6):
			return fault.Value("delay", o.Delay, "a number of seconds")
		}
		return runBenchmark(cmd.Context(), streams, o)
	}
	return cmd
}

func (o *benchmarkOptions) declare(cmd *cobra.Command) {
	group(cmd, "Model", func(f *pflag.FlagSet) {
		f.StringVar(&o.Model, "model", "", "`folder`, .gguf file or repository of the model (default "+defaultModel+")")
		f.StringVar(&o.Shape, "shape", "", "random weights in the shape of a known model, by `name`:\n"+strings.Join(bench.ShapeNames(), ", "))
		f.IntVar(&o.QBits, "q-bits", 4, "with --shape: `bits` per weight: 2, 3, 4, 5, 6 or 8")
		f.IntVar(&o.QGroup, "q-group-size", 64, "with --shape: `weights` that share a scale: 32, 64 or 128")
		f.StringVar(&o.SavePath, "save-path", "", "with --shape: keep the weights in this `folder`, and use what is there")
		f.BoolVar(&o.TrustRemoteCode, "trust-remote-code", false, "")
		ignore(f.Lookup("trust-remote-code"), noRemoteCode)
	})
	group(cmd, "What to measure", func(f *pflag.FlagSet) {
		f.IntVarP(&o.PromptTokens, "prompt-tokens", "p", 512, "`tokens` of the prompt")
		f.IntVarP(&o.GenerationTokens, "generation-tokens", "g", 1024, "`tokens` of the answer")
		f.IntVarP(&o.BatchSize, "batch-size", "b", 1, "`sequences`: answered together, or the rows of a training step")
		f.IntVarP(&o.Trials, "num-trials", "n", 5, "`times` to measure, after a warm-up: with --train, of steps of one run, whose preparations\nand first steps are not measured")
		f.IntVar(&o.PrefillStep, "prefill-step-size", 2048, "`tokens` of the prompt at a time")
		f.Float64Var(&o.Delay, "delay", 0, "`seconds` to wait between trials")
		f.BoolVar(&o.Train, "train", false, "measure LoRA training steps instead")
		f.IntVar(&o.SeqLength, "seq-length", 512, "with --train: `tokens` of a row")
		f.IntSliceVar(&o.Rows, "rows", nil, "with --train: `tokens` of each row, as 30,500,170, instead of --batch-size and --seq-length")
		f.IntVar(&o.NLayers, "num-layers", 16, "with --train: train the last `n` blocks; -1 for all")
		f.BoolVar(&o.GradCheckpoint, "grad-checkpoint", false, "with --train: compute activations twice instead of keeping them")
	})
	group(cmd, "Engine and output", func(f *pflag.FlagSet) {
		f.BoolVar(&o.Exact, "exact", false, "float32 all the way, instead of 8-bit activations and a 16-bit cache")
		f.BoolVar(&o.Profile, "profile", false, "also tell the time of each kind of op, of one more trial")
		o.deviceFlags.declare(f)
		f.StringVar(&o.JSON, "json", "", "also write the figures to this `file`")
	})
	f := cmd.Flags()
	f.Bool("pipeline", false, "")
	f.Bool("quantize-activations", false, "")
	annotate(f.Lookup("quantize-activations"), shortKey, "qa")
	f.Lookup("pipeline").Hidden, f.Lookup("quantize-activations").Hidden = true, true
}

// benchmarked is what --json writes.
type benchmarked struct {
	Version   string `json:"version"`
	Model     string `json:"model"`
	CPU       string `json:"cpu"`
	BatchSize int    `json:"batch_size"`
	Prompt    int    `json:"prompt_tokens"`
	Generated int    `json:"generation_tokens"`
	SeqLength int    `json:"seq_length,omitempty"`
	Rows      []int  `json:"rows,omitempty"`
	NumLayers int    `json:"num_layers,omitempty"`
	bench.Figures
}

// work says what is measured, in a line and for the figures.
func (o *benchmarkOptions) work() (work bench.Work, line string, figures benchmarked) {
	figures = benchmarked{Version: Version(), Model: o.Model + o.Shape, CPU: machine.Processor(), BatchSize: o.BatchSize}
	if o.Train {
		figures.SeqLength, figures.NumLayers = o.SeqLength, o.NLayers
		rows, line := slices.Repeat([]int{o.SeqLength}, max(0, o.BatchSize)), fmt.Sprintf("batch_size=%d, seq_length=%d", o.BatchSize, o.SeqLength)
		if o.Rows != nil {
			rows, line = o.Rows, fmt.Sprintf("rows=%d", o.Rows)
			figures.BatchSize, figures.SeqLength, figures.Rows = len(o.Rows), 0, o.Rows
		}
		return bench.Training{Rows: rows, NumLayers: o.NLayers, GradCheckpoint: o.GradCheckpoint}, fmt.Sprintf("%s, num_layers=%d", line, o.NLayers), figures
	}
	figures.Prompt, figures.Generated = o.PromptTokens, o.GenerationTokens
	return bench.Answers{Prompt: o.PromptTokens, Generate: o.GenerationTokens, Batch: o.BatchSize, PrefillStep: o.PrefillStep, Exact: o.Exact},
		fmt.Sprintf("prompt_tokens=%d, generation_tokens=%d, batch_size=%d", o.PromptTokens, o.GenerationTokens, o.BatchSize), figures
}

func runBenchmark(ctx context.Context, streams Streams, o benchmarkOptions) error {
	out := streams.Out
	work, line, figures := o.work()
	settings := bench.Options{
		Trials: o.Trials, Profile: o.Profile, Delay: time.Duration(o.Delay * float64(time.Second)),
		Ready: func() { fmt.Fprintf(out, "Timing with %s.\n", line) },
		Trial: func(n int, t bench.Trial) {
			fmt.Fprintf(out, "Trial %d:  %s, total_time=%.3f\n", n, o.rates(t), t.Seconds)
		},
	}
	if err := cmp.Or(work.Check(), settings.Check(), o.opening(streams).Check()); err != nil {
		return err
	}
	name, remove, err := o.folder(streams)
	if err != nil {
		return err
	}
	defer remove()
	b, err := bench.Open(ctx, name, o.opening(streams))
	if err != nil {
		return err
	}
	defer b.Close()
	remove() // most systems keep what is mapped until it is closed: nothing is left after a kill
	fmt.Fprintln(out, "Running warmup..")
	if figures.Figures, err = b.Run(ctx, work, settings); err != nil {
		return err
	}
	fmt.Fprintf(out, "Averages: %s\n", o.rates(figures.Averages))
	for _, p := range figures.Achieved {
		fmt.Fprintf(out, "Achieved, %s: %.1f GFLOP/s, %.1f GB/s\n", p.Name, p.GFLOPS, p.Bandwidth)
	}
	if figures.Idle != nil {
		fmt.Fprintf(out, "Idle between steps: at most %.2f %% of the device's time\n", 100*(*figures.Idle))
	}
	d := figures.Device
	threads := ""
	if d.Threads > 0 {
		threads = fmt.Sprintf(", %d threads", d.Threads)
	}
	fmt.Fprintf(out, "Measured peak: %.1f GFLOP/s, %.1f GB/s (%s%s)\n", d.GFLOPS, d.Bandwidth, d.Detail, threads)
	for _, p := range figures.Profile {
		printProfile(out, p)
	}
	return writeFigures(o.JSON, figures)
}

// rates is mlx-lm's line, or with --train one like it.
func (o *benchmarkOptions) rates(t bench.Trial) string {
	if o.Train {
		return fmt.Sprintf("train_tps=%.3f, peak_memory=%.3f", t.TrainTPS, t.PeakMemory)
	}
	return fmt.Sprintf("prompt_tps=%.3f, generation_tps=%.3f, peak_memory=%.3f", t.PromptTPS, t.GenerationTPS, t.PeakMemory)
}

// folder gives the model's name, or the folder made for --shape, and what removes that if it is not to stay.
func (o *benchmarkOptions) folder(streams Streams) (name string, remove func(), err error) {
	keep := func() {}
	if o.Shape == "" {
		return o.Model, keep, nil
	}
	shape, err := bench.FindShape(o.Shape)
	if err != nil {
		return "", keep, err
	}
	dir, remove := o.SavePath, keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "lentil-benchmark-"); err != nil {
			return "", keep, err
		}
		remove = func() { os.RemoveAll(dir) }
	} else if same, err := shape.IsIn(dir, o.QBits, o.QGroup); same || err != nil {
		return dir, keep, err
	}
	fmt.Fprintf(streams.Err, "Writing random weights: %s, %d bits in groups of %d\n", o.Shape, o.QBits, o.QGroup)
	if err := shape.Write(dir, o.QBits, o.QGroup); err != nil {
		remove()
		return "", keep, err
	}
	return dir, remove, nil
}

// printProfile prints a table of ops and their share of the time; the rest is what lies between ops.
func printProfile(w io.Writer, p bench.Phase) {
	fmt.Fprintf(w, "\n%s, per op:\n%-22s %8s %10s %6s %9s %8s\n", p.Name, "op", "calls", "ms", "share", "GFLOP/s", "GB/s")
	row := func(f bench.Op) {
		fmt.Fprintf(w, "%-22s %8d %10.1f %5.1f%% %9.1f %8.1f\n", f.Name, f.Calls, 1e3*f.Seconds, 100*f.Seconds/p.Seconds, float64(f.FLOPs)/f.Seconds/1e9, float64(f.Bytes)/f.Seconds/1e9)
	}
	for _, f := range p.Ops {
		row(f)
	}
	all := bench.Sum(p.Ops)
	all.Name = "all ops"
	row(all)
	fmt.Fprintf(w, "%-22s %8s %10.1f %5.1f%%\n", "between ops", "", 1e3*(p.Seconds-all.Seconds), 100*(1-all.Seconds/p.Seconds))
}
