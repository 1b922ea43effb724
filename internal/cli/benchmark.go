package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/all"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/generate"
	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/machine"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/train"
	"github.com/lentil-lm/lentil/weights"
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
	GradCheckpoint     bool
	Exact, Profile     bool
	Threads            int
	JSON               string
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
		if err := o.check(); err != nil {
			return err
		}
		return runBenchmark(cmd.Context(), streams, o)
	}
	return cmd
}

func (o *benchmarkOptions) declare(cmd *cobra.Command) {
	group(cmd, "Model", func(f *pflag.FlagSet) {
		f.StringVar(&o.Model, "model", "", "`folder`, .gguf file or repository of the model (default "+defaultModel+")")
		f.StringVar(&o.Shape, "shape", "", "random weights in the shape of a known model, by `name`:\n"+shapeNames())
		f.IntVar(&o.QBits, "q-bits", 4, "with --shape: `bits` per weight")
		f.IntVar(&o.QGroup, "q-group-size", 64, "with --shape: `weights` that share a scale")
		f.StringVar(&o.SavePath, "save-path", "", "with --shape: keep the weights in this `folder`, and use what is there")
		f.BoolVar(&o.TrustRemoteCode, "trust-remote-code", false, "accepted for mlx-lm's sake; Lentil never runs code from a model folder")
	})
	group(cmd, "What to measure", func(f *pflag.FlagSet) {
		f.IntVarP(&o.PromptTokens, "prompt-tokens", "p", 512, "`tokens` of the prompt")
		f.IntVarP(&o.GenerationTokens, "generation-tokens", "g", 1024, "`tokens` of the answer")
		f.IntVarP(&o.BatchSize, "batch-size", "b", 1, "`sequences`: answered one after the other, or the rows of a training step")
		f.IntVarP(&o.Trials, "num-trials", "n", 5, "`times` to measure")
		f.IntVar(&o.PrefillStep, "prefill-step-size", 2048, "`tokens` of the prompt at a time")
		f.Float64Var(&o.Delay, "delay", 0, "`seconds` to wait between trials")
		f.BoolVar(&o.Train, "train", false, "measure LoRA training steps instead")
		f.IntVar(&o.SeqLength, "seq-length", 512, "with --train: `tokens` of a row")
		f.IntVar(&o.NLayers, "num-layers", 16, "with --train: train the last `n` blocks; -1 for all")
		f.BoolVar(&o.GradCheckpoint, "grad-checkpoint", false, "with --train: compute activations twice instead of keeping them")
	})
	group(cmd, "Engine and output", func(f *pflag.FlagSet) {
		f.BoolVar(&o.Exact, "exact", false, "float32 all the way, instead of 8-bit activations and a 16-bit cache")
		f.BoolVar(&o.Profile, "profile", false, "also tell the time of each kind of op, of one more trial")
		f.IntVar(&o.Threads, "threads", 0, "worker `threads`; 0 for one per core")
		f.StringVar(&o.JSON, "json", "", "also write the figures to this `file`")
	})
	f := cmd.Flags()
	f.Bool("pipeline", false, "")
	f.Bool("quantize-activations", false, "")
	annotate(f.Lookup("quantize-activations"), shortKey, "qa")
	f.Lookup("pipeline").Hidden, f.Lookup("quantize-activations").Hidden = true, true
}

func (o *benchmarkOptions) check() error {
	for _, n := range []struct {
		flag         string
		value, least int
	}{
		{"prompt-tokens", o.PromptTokens, 1}, {"generation-tokens", o.GenerationTokens, 1}, {"batch-size", o.BatchSize, 1},
		{"num-trials", o.Trials, 1}, {"prefill-step-size", o.PrefillStep, 1}, {"seq-length", o.SeqLength, 2},
	} {
		if n.value < n.least {
			return fault.Of("--%s %d: must be at least %d", n.flag, n.value, n.least)
		}
	}
	if !(o.Delay >= 0 && o.Delay < 1e6) {
		return fault.Value("delay", o.Delay, "a number of seconds")
	}
	if o.SavePath != "" && o.Shape == "" {
		return fault.Of("--save-path goes with --shape")
	}
	return nil
}

// A bench measures one model.
type bench struct {
	benchmarkOptions
	out   io.Writer
	dev   *profiler
	model *model.Model
}

// trial is what one measurement gave; a phase that was not measured is zero.
type trial struct {
	PromptTPS     float64 `json:"prompt_tps,omitempty"`
	GenerationTPS float64 `json:"generation_tps,omitempty"`
	TrainTPS      float64 `json:"train_tps,omitempty"`
	TrainLoss     float64 `json:"train_loss,omitempty"`
	PeakMemory    float64 `json:"peak_memory"` // GB
	Seconds       float64 `json:"total_time"`
}

// phase is a part of a trial: reading, writing or learning.
type phase struct {
	Name      string     `json:"name"`
	Seconds   float64    `json:"seconds"`
	GFLOPS    float64    `json:"gflops"`
	Bandwidth float64    `json:"gigabytes_per_second"`
	Ops       []opFigure `json:"ops"`
}

// benchmarked is what --json writes.
type benchmarked struct {
	Version   string       `json:"version"`
	Model     string       `json:"model"`
	CPU       string       `json:"cpu"`
	Device    deviceFigure `json:"device"`
	Trials    []trial      `json:"trials"`
	Averages  trial        `json:"averages"`
	Achieved  []phase      `json:"achieved"`          // averages of all trials
	Profile   []phase      `json:"profile,omitempty"` // of one more trial, op by op
	BatchSize int          `json:"batch_size"`
	Prompt    int          `json:"prompt_tokens"`
	Generated int          `json:"generation_tokens"`
	SeqLength int          `json:"seq_length,omitempty"`
	NumLayers int          `json:"num_layers,omitempty"`
}

func runBenchmark(ctx context.Context, streams Streams, o benchmarkOptions) error {
	path, done, err := o.folder(ctx, streams)
	if err != nil {
		return err
	}
	defer done()
	dev, err := all.Open("auto", all.Options{Threads: o.Threads})
	if err != nil {
		return err
	}
	defer all.Close(dev)
	src, err := weights.Open(path)
	if err != nil {
		return fault.Mark(err)
	}
	defer src.Close()
	done() // most systems keep what is mapped until it is closed: nothing is left after a kill
	b := &bench{benchmarkOptions: o, out: streams.Out, dev: &profiler{Device: dev, ops: map[string]*opFigure{}}}
	if b.model, err = model.Load(b.dev, src); err != nil {
		return fault.Mark(err, compute.ErrNoMemory)
	}
	defer b.model.Free()
	figures, err := b.measure(ctx)
	if err != nil {
		return err
	}
	return writeFigures(o.JSON, figures)
}

// folder gives the model's folder, made for --shape, and what ends its use.
func (o *benchmarkOptions) folder(ctx context.Context, streams Streams) (path string, done func(), err error) {
	done = func() {}
	if o.Shape == "" {
		path, err = engine.Find(ctx, o.Model, hub.ModelPatterns, streams.opening(o.Threads))
		return path, done, err
	}
	s, err := findShape(o.Shape)
	if err != nil {
		return "", done, err
	}
	if path = o.SavePath; path == "" {
		if path, err = os.MkdirTemp("", "lentil-benchmark-"); err != nil {
			return "", done, err
		}
		done = func() { os.RemoveAll(path) }
	} else if same, err := s.isIn(path, o.QBits, o.QGroup); same || err != nil {
		return path, done, err
	}
	fmt.Fprintf(streams.Err, "Writing random weights: %s, %d bits in groups of %d\n", s.name, o.QBits, o.QGroup)
	if err := s.write(path, o.QBits, o.QGroup); err != nil {
		done()
		return "", func() {}, err
	}
	return path, done, nil
}

// pass measures once and returns the phases, without rates.
type pass func(ctx context.Context) ([]phase, trial, error)

// measure runs warm-up, trials and what else was asked for, and prints as it goes.
func (b *bench) measure(ctx context.Context) (*benchmarked, error) {
	figures := &benchmarked{Version: Version(), Model: b.Model + b.Shape, CPU: machine.Processor(), BatchSize: b.BatchSize}
	var once pass
	if b.Train {
		figures.SeqLength, figures.NumLayers = b.SeqLength, b.NLayers
		step, err := b.trainer()
		if err != nil {
			return nil, err
		}
		once = step
	} else {
		figures.Prompt, figures.Generated = b.PromptTokens, b.GenerationTokens
		once = b.answer
	}
	fmt.Fprintln(b.out, "Running warmup..")
	b.dev.counting = true // the same work as in the trials
	counted, _, err := once(ctx)
	b.dev.counting = false
	if err != nil {
		return nil, err
	}
	if b.Train {
		fmt.Fprintf(b.out, "Timing with batch_size=%d, seq_length=%d, num_layers=%d.\n", b.BatchSize, b.SeqLength, b.NLayers)
	} else {
		fmt.Fprintf(b.out, "Timing with prompt_tokens=%d, generation_tokens=%d, batch_size=%d.\n", b.PromptTokens, b.GenerationTokens, b.BatchSize)
	}
	if err := b.trials(ctx, once, figures, counted); err != nil {
		return nil, err
	}
	flops, bandwidth, err := all.Measure(b.dev.Device)
	if err != nil {
		return nil, err
	}
	info := b.dev.Info()
	figures.Device = deviceFigure{Name: info.Name, Detail: info.Detail, Threads: info.Threads, Memory: info.Memory, GFLOPS: flops / 1e9, Bandwidth: bandwidth / 1e9}
	for _, p := range figures.Achieved {
		fmt.Fprintf(b.out, "Achieved, %s: %.1f GFLOP/s, %.1f GB/s\n", p.Name, p.GFLOPS, p.Bandwidth)
	}
	fmt.Fprintf(b.out, "Measured peak: %.1f GFLOP/s, %.1f GB/s (%s, %d threads)\n", flops/1e9, bandwidth/1e9, info.Detail, info.Threads)
	if !b.Profile {
		return figures, nil
	}
	b.dev.timing = true
	figures.Profile, _, err = once(ctx)
	b.dev.timing = false
	for i := range figures.Profile {
		p := &figures.Profile[i]
		p.rates(p.Ops)
		printProfile(b.out, p.Name, p.Ops, p.Seconds)
	}
	return figures, err
}

// rates sets what the ops achieved in the phase's time.
func (p *phase) rates(ops []opFigure) {
	work := sum(ops)
	p.GFLOPS, p.Bandwidth = float64(work.FLOPs)/p.Seconds/1e9, float64(work.Bytes)/p.Seconds/1e9
}

// trials measures and prints, and works out averages; counted are the phases' ops.
func (b *bench) trials(ctx context.Context, once pass, figures *benchmarked, counted []phase) error {
	figures.Achieved = make([]phase, len(counted))
	avg := &figures.Averages
	n := float64(b.Trials)
	for i := range b.Trials {
		if i > 0 && b.Delay > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Duration(b.Delay * float64(time.Second))):
			}
		}
		phases, t, err := once(ctx)
		if err != nil {
			return err
		}
		t.PeakMemory = float64(machine.PeakMemory()) / 1e9
		figures.Trials = append(figures.Trials, t)
		for k, p := range phases {
			figures.Achieved[k].Name = p.Name
			figures.Achieved[k].Seconds += p.Seconds / n
		}
		avg.PromptTPS += t.PromptTPS / n
		avg.GenerationTPS += t.GenerationTPS / n
		avg.TrainTPS += t.TrainTPS / n
		avg.PeakMemory += t.PeakMemory / n
		avg.Seconds += t.Seconds / n
		fmt.Fprintf(b.out, "Trial %d:  %s, total_time=%.3f\n", i+1, b.line(t), t.Seconds)
	}
	for k := range figures.Achieved {
		p := &figures.Achieved[k]
		p.Ops = counted[k].Ops
		p.rates(p.Ops)
		for i := range p.Ops {
			p.Ops[i].Seconds = 0 // only counted
		}
	}
	fmt.Fprintf(b.out, "Averages: %s\n", b.line(*avg))
	return nil
}

// line is mlx-lm's, or with --train one like it.
func (b *bench) line(t trial) string {
	if b.Train {
		return fmt.Sprintf("train_tps=%.3f, peak_memory=%.3f", t.TrainTPS, t.PeakMemory)
	}
	return fmt.Sprintf("prompt_tps=%.3f, generation_tps=%.3f, peak_memory=%.3f", t.PromptTPS, t.GenerationTPS, t.PeakMemory)
}

// randomTokens are n of the model's vocabulary.
func (b *bench) randomTokens(random *rand.Rand, n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(random.IntN(b.model.Config.VocabSize))
	}
	return out
}

// answer reads random prompts and writes answers that no token ends.
func (b *bench) answer(ctx context.Context) ([]phase, trial, error) {
	s, err := generate.NewSession(b.model, 0, b.Exact)
	if err != nil {
		return nil, trial{}, err
	}
	defer s.Close()
	random := rand.New(rand.NewPCG(0, 0))
	read, write := phase{Name: "prompt"}, phase{Name: "generation"}
	var readOps, writeOps []opFigure
	for range b.BatchSize {
		s.Reset()
		start := time.Now()
		logits, err := s.Prefill(ctx, b.randomTokens(random, b.PromptTokens), b.PrefillStep)
		if err != nil {
			return nil, trial{}, err
		}
		read.Seconds += time.Since(start).Seconds()
		readOps = append(readOps, b.dev.take()...)
		start = time.Now()
		for range b.GenerationTokens - 1 {
			if err := ctx.Err(); err != nil {
				return nil, trial{}, err
			}
			if logits, err = s.Next(likeliest(logits)); err != nil {
				return nil, trial{}, err
			}
		}
		write.Seconds += time.Since(start).Seconds()
		writeOps = append(writeOps, b.dev.take()...)
	}
	read.Ops, write.Ops = merge(readOps), merge(writeOps)
	t := trial{PromptTPS: float64(b.BatchSize*b.PromptTokens) / read.Seconds, Seconds: read.Seconds + write.Seconds}
	if b.GenerationTokens == 1 {
		return []phase{read}, t, nil // the first token comes from the prompt's last
	}
	t.GenerationTPS = float64(b.BatchSize*(b.GenerationTokens-1)) / write.Seconds
	return []phase{read, write}, t, nil
}

func likeliest(logits []float32) int32 {
	best := 0
	for i, v := range logits {
		if v > logits[best] {
			best = i
		}
	}
	return int32(best)
}

// trainer puts a LoRA on the model and returns a training step on random rows.
func (b *bench) trainer() (pass, error) {
	if _, err := adapter.New(b.model, adapter.Config{Rank: 8, Scale: 20, NumLayers: b.NLayers}, compute.NewKey(0)); err != nil {
		return nil, fault.Mark(err, compute.ErrNoMemory)
	}
	random := rand.New(rand.NewPCG(0, 0))
	rows := make(train.List, b.BatchSize)
	for i := range rows {
		// One more than is learnt: the first token is never predicted.
		rows[i] = train.Example{IDs: b.randomTokens(random, b.SeqLength+1), Loss: [][2]int{{1, b.SeqLength + 1}}}
	}
	return func(ctx context.Context) ([]phase, trial, error) {
		steps := &stepTimes{}
		t := &train.Trainer{
			Model: b.model, Train: rows, Reporter: steps, PeakMemory: machine.PeakMemory,
			Save: func(int, bool) (run.Saved, error) { return run.Saved{}, nil },
			Options: train.Options{
				BatchSize: b.BatchSize, Iters: 1, StepsPerReport: 1, StepsPerEval: 1, SaveEvery: math.MaxInt, GradAccumulationSteps: 1,
				MaxSeqLength: b.SeqLength + 1, GradCheckpoint: b.GradCheckpoint, Optimizer: train.OptimizerConfig{Name: "adam"},
				Schedule: train.Constant(0), // the same work, and the model stays as it is
			},
		}
		start := time.Now()
		if _, err := t.Run(ctx); err != nil {
			return nil, trial{}, errors.Join(ctx.Err(), err)
		}
		p := phase{Name: "training", Seconds: steps.at.Sub(start).Seconds(), Ops: b.dev.take()}
		return []phase{p}, trial{TrainTPS: float64(b.BatchSize*b.SeqLength) / p.Seconds, TrainLoss: steps.loss, Seconds: p.Seconds}, nil
	}, nil
}

// stepTimes hears when the step was over.
type stepTimes struct {
	at   time.Time
	loss float64
}

func (s *stepTimes) Report(e run.Event) {
	if step, ok := e.(run.Step); ok {
		s.at, s.loss = time.Now(), step.Loss
	}
}

// merge adds up figures of the same op.
func merge(ops []opFigure) []opFigure {
	p := profiler{ops: map[string]*opFigure{}}
	for _, f := range ops {
		if have := p.ops[f.Op]; have != nil {
			f = sum([]opFigure{*have, f})
			f.Op = have.Op
		}
		p.ops[f.Op] = &f
	}
	return p.take()
}
