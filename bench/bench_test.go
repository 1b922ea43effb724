package bench

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/all"
	"github.com/lentil-lm/lentil/compute/plan"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/fault"
)

const vocab = 320

// small is a little sibling of a shape with everything that sets it apart.
func small(s Shape) Shape {
	little := Shape{name: s.name, config: maps.Clone(s.config)}
	maps.Copy(little.config, map[string]any{
		"hidden_size": 192, "intermediate_size": 128, "vocab_size": vocab, "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 2,
	})
	return little
}

// tiny opens a model with random weights of 4 bits.
func tiny(t *testing.T) *Bench {
	t.Helper()
	dir := t.TempDir()
	if err := small(shapes[0]).Write(dir, 4, 32); err != nil {
		t.Fatal(err)
	}
	b, err := Open(t.Context(), dir, engine.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// calls counts those of an op.
func calls(p Phase, name string) int {
	i := slices.IndexFunc(p.Ops, func(o Op) bool { return o.Name == name })
	if i < 0 {
		return 0
	}
	return p.Ops[i].Calls
}

// TestAnswers: trials and averages belong together, and each op of the work is counted.
func TestAnswers(t *testing.T) {
	b := tiny(t)
	ready, heard := 0, []Trial{}
	began := time.Now()
	f, err := b.Run(t.Context(), Answers{Prompt: 12, Generate: 5, Batch: 1, PrefillStep: 8}, Options{
		Trials: 2, Delay: 30 * time.Millisecond, Profile: true,
		Ready: func() { ready++ },
		Trial: func(n int, tr Trial) {
			if heard = append(heard, tr); len(heard) != n {
				t.Errorf("trial %d is told as number %d", len(heard), n)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if ready != 1 || !slices.Equal(heard, f.Trials) || len(f.Trials) != 2 || time.Since(began) < 30*time.Millisecond {
		t.Errorf("ready %d times, heard of %+v, trials %+v", ready, heard, f.Trials)
	}
	for _, tr := range f.Trials {
		if !(tr.PromptTPS > 0) || !(tr.GenerationTPS > 0) || tr.TrainTPS != 0 || !(tr.Seconds > 0) {
			t.Errorf("trial %+v", tr)
		}
	}
	if want := (f.Trials[0].PromptTPS + f.Trials[1].PromptTPS) / 2; !(math.Abs(f.Averages.PromptTPS/want-1) <= 1e-9) {
		t.Errorf("average %g, want %g", f.Averages.PromptTPS, want)
	}
	// A prompt in two steps and four further tokens, through two blocks of seven projections and the head.
	linears := []int{2 * 15, 4 * 15}
	for i, p := range f.Profile {
		if p.Name != []string{"prompt", "generation"}[i] || calls(p, "linear") != linears[i] {
			t.Errorf("%s: %d linears, want %d", p.Name, calls(p, "linear"), linears[i])
		}
		sum, counted := Sum(p.Ops), Sum(f.Achieved[i].Ops)
		if sum.Seconds > p.Seconds || sum.FLOPs != counted.FLOPs || counted.Seconds != 0 {
			t.Errorf("%s: ops take %+v of %g s; counted before %+v", p.Name, sum, p.Seconds, counted)
		}
		if rate := float64(sum.FLOPs) / p.Seconds / 1e9; !(math.Abs(p.GFLOPS/rate-1) <= 1e-9) {
			t.Errorf("%s: %g GFLOP/s, want %g", p.Name, p.GFLOPS, rate)
		}
	}
	if f.Device.Name != "cpu" || f.Device.Threads != 1 || !(f.Device.GFLOPS > 0) {
		t.Errorf("device %+v", f.Device)
	}
	one, err := b.Run(t.Context(), Answers{Prompt: 3, Generate: 1, Batch: 1, PrefillStep: 8}, Options{Trials: 1})
	if err != nil || len(one.Achieved) != 1 || one.Trials[0].GenerationTPS != 0 || one.Profile != nil {
		t.Errorf("an answer of one token: %+v, %v", one, err)
	}
	together, err := b.Run(t.Context(), Answers{Prompt: 12, Generate: 5, Batch: 3, PrefillStep: 8}, Options{Trials: 1})
	if err != nil || !(together.Trials[0].PromptTPS > 0) || !(together.Trials[0].GenerationTPS > 0) {
		t.Fatalf("answers together: %+v, %v", together, err)
	}
	for i, p := range together.Achieved {
		if n := calls(p, "linear"); n < linears[i] || n > 3*linears[i] {
			t.Errorf("%s of three answers: %d linears, want %d to %d", p.Name, n, linears[i], 3*linears[i])
		}
	}
}

// numbered is work whose passes are known by their seconds: 1, 2 and so on.
type numbered struct{ counting []bool }

func (*numbered) Check() error              { return nil }
func (*numbered) warmUp(compute.Device) int { return 3 }

func (w *numbered) begin(b *Bench) (passes, error) {
	return func(ctx context.Context, n int, each func([]Phase, Trial) error) error {
		for i := range n {
			w.counting = append(w.counting, b.dev.counting)
			s := float64(i + 1)
			if err := each([]Phase{{Name: "pass", Seconds: s, Ops: b.dev.take()}}, Trial{Seconds: s}); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// TestWarmUp: passes that warm up are not measured, and the first of them alone is counted. The end of ctx ends the wait between two.
func TestWarmUp(t *testing.T) {
	b, w := tiny(t), &numbered{}
	measured := -1
	f, err := b.Run(t.Context(), w, Options{Trials: 2, Ready: func() { measured = len(w.counting) }})
	if err != nil {
		t.Fatal(err)
	}
	if measured != 3 || f.Averages.Seconds != 4.5 || f.Achieved[0].Seconds != 4.5 || !slices.Equal(w.counting, []bool{true, false, false, false, false}) {
		t.Errorf("ready after %d passes, averages %+v, achieved %+v, counting %v", measured, f.Averages, f.Achieved, w.counting)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = b.Run(ctx, w, Options{Trials: 2, Delay: time.Hour, Trial: func(int, Trial) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled between trials: %v", err)
	}
	if _, ok := idlerOf(b.dev.Device); ok || (Training{}).warmUp(b.dev.Device) != 1 {
		t.Error("the processor prepares no work, and training warms up more than once on it")
	}
	if n := (Training{}).warmUp(watched{b.dev.Device}); n != warmSteps {
		t.Errorf("training warms up %d times on a device that tells when it was idle, want %d", n, warmSteps)
	}
}

// watched is a device that tells when it was idle.
type watched struct{ compute.Device }

func (watched) WatchIdle(bool) time.Duration { return 0 }

// TestTraining: a step leaves the model as it is, and its loss is that of guessing.
func TestTraining(t *testing.T) {
	f, err := tiny(t).Run(t.Context(), Training{Rows: []int{20, 7, 33}, NumLayers: 1, GradCheckpoint: true}, Options{Trials: 2})
	if err != nil {
		t.Fatal(err)
	}
	first, second := f.Trials[0], f.Trials[1]
	if first.TrainLoss != second.TrainLoss || !(f.Averages.TrainTPS > 0) {
		t.Errorf("trials %+v: want two equal losses", f.Trials)
	}
	if want := 60 / first.Seconds; !(math.Abs(first.TrainTPS/want-1) <= 1e-9) {
		t.Errorf("%g tokens a second, want %g: 60 are learnt", first.TrainTPS, want)
	}
	if guess := math.Log(vocab); first.TrainLoss < guess-0.5 || first.TrainLoss > guess+2 {
		t.Errorf("loss %g, want about %g", first.TrainLoss, guess)
	}
	if len(f.Achieved) != 1 || calls(f.Achieved[0], "adam") == 0 {
		t.Errorf("a step without its update: %+v", f.Achieved)
	}
}

// TestSettings names what is wrong.
func TestSettings(t *testing.T) {
	b := tiny(t)
	good := Answers{Prompt: 1, Generate: 1, Batch: 1, PrefillStep: 1}
	for want, tt := range map[fault.Setting]struct {
		w      Work
		trials int
	}{
		"prompt_tokens":     {Answers{Prompt: 0, Generate: 1, Batch: 1, PrefillStep: 1}, 1},
		"generation_tokens": {Answers{Prompt: 1, Generate: -1, Batch: 1, PrefillStep: 1}, 1},
		"batch_size":        {Training{NumLayers: -1}, 1},
		"prefill_step_size": {Answers{Prompt: 1, Generate: 1, Batch: 1}, 1},
		"seq_length":        {Training{Rows: []int{5, 1}, NumLayers: -1}, 1},
		"num_trials":        {good, 0},
		"num_layers":        {Training{Rows: []int{5}, NumLayers: 9}, 1},
	} {
		if _, err := b.Run(t.Context(), tt.w, Options{Trials: tt.trials}); fault.SettingOf(err) != want {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := Open(t.Context(), t.TempDir(), engine.Options{}); fault.SettingOf(err) != "model" {
		t.Errorf("no model: %v", err)
	}
	if _, err := Open(t.Context(), "./nowhere", engine.Options{}); fault.SettingOf(err) != "model" {
		t.Errorf("nothing: %v", err)
	}
	if _, err := FindShape("gpt-5"); fault.SettingOf(err) != "shape" {
		t.Errorf("no such shape: %v", err)
	}
	dir := t.TempDir()
	for _, tt := range []struct{ bits, group int }{{9, 64}, {4, 7}} {
		if err := small(shapes[0]).Write(dir, tt.bits, tt.group); !errors.As(err, new(*fault.Mistake)) {
			t.Errorf("%d bits in groups of %d: %v", tt.bits, tt.group, err)
		}
	}
}

// TestInterrupted ends a measurement between two tokens, and between two trials.
func TestInterrupted(t *testing.T) {
	b := tiny(t)
	for name, o := range map[string]Options{"working": {Trials: 1000}, "waiting": {Trials: 2, Delay: time.Hour}} {
		for _, answers := range []int{1, 3} {
			ctx, cancel := context.WithCancel(t.Context())
			o.Trial = func(int, Trial) { cancel() }
			if _, err := b.Run(ctx, Answers{Prompt: 2, Generate: 3, Batch: answers, PrefillStep: 8}, o); !errors.Is(err, context.Canceled) {
				t.Errorf("%s, %d answers: %v", name, answers, err)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Run(ctx, Training{Rows: []int{4}, NumLayers: 1}, Options{Trials: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("learning: %v", err)
	}
}

func TestMeasure(t *testing.T) {
	if testing.Short() {
		t.Skip("reads half a gigabyte; TestAnswers has a device measured too")
	}
	dev, err := all.Open("cpu", all.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	start := time.Now()
	d, err := measure(t.Context(), dev)
	if err != nil || d.GFLOPS < 0.01 || d.Bandwidth < 0.01 {
		t.Errorf("%+v, %v: want at least ten million of both a second", d, err)
	}
	t.Logf("%.1f GFLOP/s, %.1f GB/s in %v", d.GFLOPS, d.Bandwidth, time.Since(start))
	none := plan.New(plan.Options{Supports: func(compute.Op, []compute.Spec) bool { return false }})
	if _, err := measure(t.Context(), none); !errors.Is(err, compute.ErrUnsupported) {
		t.Errorf("a device without ops: %v, want ErrUnsupported", err)
	}
}

// TestGrown: a device is measured at the largest size that does not take it long, and not when nobody waits any more.
func TestGrown(t *testing.T) {
	var sizes []int
	at := func(seconds float64) func(int, time.Duration) (float64, error) {
		sizes = nil
		return func(n int, patient time.Duration) (float64, error) {
			if patient > 0 {
				n = -n
			}
			sizes = append(sizes, n)
			return 1 / (seconds * math.Abs(float64(n))), nil
		}
	}
	if rate, n, err := grown(t.Context(), 2, 16, at(1e-6)); n != 16 || rate != 1/16e-6 || err != nil || !slices.Equal(sizes, []int{2, 4, 8, -16}) {
		t.Errorf("a fast device: %g at %d of %v, %v", rate, n, sizes, err)
	}
	if _, n, err := grown(t.Context(), 2, 16, at(patience.Seconds()/7)); n != 4 || err != nil || !slices.Equal(sizes, []int{2, 4, 4, -4}) {
		t.Errorf("a slow device: %d of %v, %v", n, sizes, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := grown(ctx, 2, 16, at(1e-6)); !errors.Is(err, context.Canceled) || len(sizes) != 1 {
		t.Errorf("ended: sizes %v, %v", sizes, err)
	}
}

// TestDevices lists the processor last, measured or not.
func TestDevices(t *testing.T) {
	list := Devices(t.Context(), 1, true)
	if len(list) == 0 {
		t.Fatal("no device")
	}
	if d := list[len(list)-1]; d.Name != "cpu" || d.Threads != 1 || d.GFLOPS != 0 || d.Error != "" {
		t.Errorf("quick: %+v", d)
	}
	list = Devices(t.Context(), 1, false)
	if d := list[len(list)-1]; !(d.GFLOPS > 0) || !(d.Bandwidth > 0) {
		t.Errorf("measured: %+v", d)
	}
	if list := Devices(t.Context(), -1, true); list[len(list)-1].Error == "" {
		t.Errorf("with -1 threads: %+v", list)
	}
}
