package train

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cpu"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/internal/atomicfile/killtest"
	"github.com/lentil-lm/lentil/internal/spoil"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/run"
)

// keepStates has a trainer write its state at each save into a folder.
func keepStates(tr *Trainer, dir string) {
	tr.Save = func(s Snapshot) (run.Saved, error) {
		set, err := atomicfile.Begin(dir)
		if err != nil {
			return run.Saved{}, err
		}
		defer set.Discard()
		if err := s.WriteState(set, "state"); err != nil {
			return run.Saved{}, err
		}
		return run.Saved{Iteration: s.Iteration}, set.Commit()
	}
}

func openState(t *testing.T, dir string) *State {
	t.Helper()
	s, err := OpenState(filepath.Join(dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestGoingOn stops a run after each step, and another process's model and trainer go on from what it saved: steps, reports,
// validations, warnings, result and weights are those of a run that was not stopped.
func TestGoingOn(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	for name, change := range map[string]func(*Options, *Trainer){
		"adam":         func(*Options, *Trainer) {},
		"accumulation": func(o *Options, _ *Trainer) { o.GradAccumulationSteps, o.StepsPerReport = 3, 3 },
		"adamw, scheduled": func(o *Options, _ *Trainer) {
			o.Optimizer.Name = "adamw"
			o.Schedule = func(t int) float64 { return 1e-2 / float64(1+t) }
		},
		"sgd":  func(o *Options, _ *Trainer) { o.Optimizer.Name = "sgd" },
		"muon": func(o *Options, _ *Trainer) { o.Optimizer.Name = "muon" },
		"adafactor, mlx": func(o *Options, _ *Trainer) {
			o.Optimizer.Name, o.CompatMLX, o.GradAccumulationSteps = "adafactor", true, 2
		},
		"DoRA": func(_ *Options, tr *Trainer) { asDoRA(t)(tr) },
		"full": func(_ *Options, tr *Trainer) {
			m := modeltest.Load(t, dev, modeltest.Spec{Type: "llama"})
			if err := m.Unfreeze(1, true); err != nil {
				t.Fatal(err)
			}
			tr.Model = m
		},
		"DPO": func(o *Options, tr *Trainer) {
			other, _ := newPairTrainer(t, dev, DPO{Beta: 0.1}, 1)
			tr.Model, tr.Train, tr.Valid, o.Objective = other.Model, other.Train, other.Valid, DPO{Beta: 0.1}
			o.Frozen = FrozenCache{Memory: 1 << 20}
		},
		"frozen layers": func(o *Options, tr *Trainer) {
			o.Frozen = FrozenCache{Memory: 1 << 20}
			tr.Model = modeltest.Load(t, dev, modeltest.Spec{Type: "llama", Bits: 4, Config: map[string]any{"num_hidden_layers": 4}})
			if err := lora(tr.Model); err != nil {
				t.Fatal(err)
			}
			tr.Train, o.MaxSeqLength = longRows(7, 1), 140
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin := func(from *State) (*Trainer, *log) {
				o := options()
				tr, l := newTrainer(t, dev, o)
				change(&o, tr)
				tr.Options, tr.From = o, from
				return tr, l
			}
			told := func(l *log) (out []string) {
				for _, e := range l.events {
					switch e := e.(type) {
					case run.Step, run.Warning:
						out = append(out, fmt.Sprint(e))
					case run.Validation:
						out = append(out, fmt.Sprintf("val %d %v", e.Iteration, e.Loss))
					case run.TrainReport:
						out = append(out, fmt.Sprintf("train %d %v %v %d", e.Iteration, e.TrainLoss, e.LearningRate, e.TrainedTokens))
					}
				}
				return out
			}
			whole, l := begin(nil)
			wholeDir := t.TempDir()
			keepStates(whole, wholeDir)
			result, err := whole.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want := told(l)
			dir := t.TempDir()
			var got []string
			var from *State
			for stop := 1; ; stop++ {
				tr, l := begin(from)
				keepStates(tr, dir)
				ctx, cancel := context.WithCancel(t.Context())
				l.do = func(e run.Event) {
					if s, ok := e.(run.Step); ok && s.Iteration == stop {
						cancel()
					}
				}
				again, err := tr.Run(ctx)
				cancel()
				got = append(got, told(l)...)
				if err == nil {
					if again != result {
						t.Errorf("result %+v, want %+v", again.Iterations, result.Iterations)
					}
					if a, b := trained(t, tr), trained(t, whole); !slices.EqualFunc(a, b, slices.Equal[[]float32]) {
						t.Error("other weights")
					}
					a, b := openState(t, dir), openState(t, wholeDir)
					a.figures.Window.Spent, b.figures.Window.Spent = 0, 0
					if !reflect.DeepEqual(a.figures, b.figures) || len(a.figures.Trend.Before) == 0 {
						t.Errorf("state %+v, want %+v", a.figures, b.figures)
					}
					if !bytes.Equal(spoil.ReadFile(t, filepath.Join(dir, "state", stateArrays)), spoil.ReadFile(t, filepath.Join(wholeDir, "state", stateArrays))) {
						t.Error("other arrays in the state")
					}
					break
				}
				if !errors.Is(err, ErrInterrupted) || again.Iterations != stop {
					t.Fatalf("stopped at %d: %d iterations, %v", stop, again.Iterations, err)
				}
				from = openState(t, dir)
			}
			if !slices.Equal(got, want) {
				t.Errorf("told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// TestGoingOnLater: a run that has come to its end goes on with more iterations as if it had had them from the start, where
// its end was no special step.
func TestGoingOnLater(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	dir := t.TempDir()
	result := func(iters int, from *State) (Result, []run.TrainReport) {
		o := options()
		o.Iters, o.StepsPerReport = iters, 4
		tr, l := newTrainer(t, dev, o)
		tr.From = from
		keepStates(tr, dir)
		got, err := tr.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return got, eventsOf[run.TrainReport](l)
	}
	want, reports := result(10, nil)
	result(5, nil)
	got, more := result(10, openState(t, dir))
	if got != want || len(more) != 2 || more[0].TrainLoss != reports[1].TrainLoss || more[1].TrainLoss != reports[2].TrainLoss {
		t.Errorf("%+v, want %+v", more, reports)
	}
}

// saveOne leaves the state of a run in a folder, in the middle of an accumulation.
func saveOne(t *testing.T, dev *cpu.Device, dir string) {
	t.Helper()
	o := options()
	o.Iters, o.SaveEvery, o.GradAccumulationSteps, o.CompatMLX = 3, 3, 2, true
	tr, _ := newTrainer(t, dev, o)
	keepStates(tr, dir)
	if _, err := tr.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestStateErrors: what is no state of this run is refused, and says what is wrong.
func TestStateErrors(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	for name, test := range map[string]struct {
		figures map[string]any // that replace those of the file
		change  func(*Trainer)
		want    string
	}{
		"format":       {figures: map[string]any{"format": 2}, want: "format is 2, expected 1"},
		"a number":     {figures: map[string]any{"iterations": "x"}, want: "state.json"},
		"iterations":   {figures: map[string]any{"iterations": 0}, want: "iterations is 0"},
		"updates":      {figures: map[string]any{"updates": 4}, want: "updates is 4"},
		"random":       {figures: map[string]any{"random_at": 625}, want: "random_at is 625"},
		"negative":     {figures: map[string]any{"order_at": -1}, want: "order_at is -1"},
		"waiting":      {figures: map[string]any{"waiting_unit": 0}, want: "waiting_unit is 0"},
		"skipped":      {figures: map[string]any{"skipped": 3}, want: "skipped is 3"},
		"less skipped": {figures: map[string]any{"skipped": -1}, want: "skipped is -1"},
		"workers":      {figures: map[string]any{"dropout_keys": [][2]int{{1, 2}, {3, 4}}}, want: "state: it is not the state of this run: it is that of 2 workers"},
		"order":        {figures: map[string]any{"order_at": 100}, want: "behind its end"},
		"fewer iters":  {change: func(tr *Trainer) { tr.Options.Iters = 2 }, want: "iters 2: expected more than the 3 that are done"},
		"fewer rows":   {change: func(tr *Trainer) { tr.Train = someRows(8) }, want: "order is U32 [3], expected U32 [2]"},
		"an optimizer": {change: func(tr *Trainer) { tr.Options.Optimizer.Name = "adafactor" }, want: "optimizer.0.model.layers.0.mlp.up_proj.lora_a"},
		"a model":      {change: func(tr *Trainer) { asDoRA(t)(tr) }, want: "state.safetensors has no weight.model.layers.0.mlp.up_proj.m"},
		"the rank": {change: func(tr *Trainer) {
			if _, err := adapter.New(tr.Model, adapter.Config{Rank: 3}, compute.NewKey(0)); err != nil {
				t.Fatal(err)
			}
		}, want: "weight.model.layers.0.mlp.up_proj.lora_a is F32 [32 2], expected F32 [32 3]"},
	} {
		dir := t.TempDir()
		saveOne(t, dev, dir)
		path := filepath.Join(dir, "state", stateFigures)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var members map[string]any
		if err := json.Unmarshal(text, &members); err != nil {
			t.Fatal(err)
		}
		for k, v := range test.figures {
			members[k] = v
		}
		text, _ = json.Marshal(members)
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		state, err := OpenState(filepath.Join(dir, "state"))
		if err == nil {
			o := options()
			o.Iters, o.GradAccumulationSteps, o.CompatMLX = 5, 2, true
			tr, _ := newTrainer(t, dev, o)
			if test.change != nil {
				test.change(tr)
			}
			tr.From = state
			before := used(dev)
			_, err = tr.Run(t.Context())
			if after := used(dev); after != before {
				t.Errorf("%s: %d bytes held, %d before", name, after, before)
			}
		}
		if err == nil || !strings.Contains(err.Error(), test.want) || name == "fewer iters" && fault.SettingOf(err) != "iters" {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
}

// TestSpoiledState: a state with changed bytes is read, or refused, and neither panics nor takes much.
func TestSpoiledState(t *testing.T) {
	dev := newCPU(t)
	dir := t.TempDir()
	saveOne(t, dev, dir)
	o := options()
	o.Iters, o.GradAccumulationSteps, o.CompatMLX, o.ValBatches = 3, 2, true, 0
	tr, _ := newTrainer(t, dev, o)
	for _, name := range []string{stateFigures, stateArrays} {
		path := filepath.Join(dir, "state", name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		spoil.Each(t, whole[:min(len(whole), 4096)], spoil.Limit{Places: 40, Bytes: 4 << 20}, func(t *testing.T, broken []byte) {
			broken = append(broken, whole[min(len(whole), 4096):]...)
			if err := os.WriteFile(path, broken, 0o644); err != nil {
				t.Fatal(err)
			}
			s, err := OpenState(filepath.Join(dir, "state"))
			if err != nil {
				return
			}
			tr.From = s
			if s, err := tr.prepare(); err == nil {
				tr.close(s)
			}
		})
		if err := os.WriteFile(path, whole, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestKilledSaves: weights and the state that belongs to them come together, wherever a save is killed.
func TestKilledSaves(t *testing.T) {
	o := options()
	o.Iters, o.SaveEvery, o.GradAccumulationSteps, o.ValBatches = 6, 2, 4, 0
	tr, _ := newTrainer(t, newCPU(t), o)
	old := t.TempDir()
	save := func(dir string, s Snapshot) error {
		set, err := atomicfile.Begin(dir)
		if err != nil {
			return err
		}
		defer set.Discard()
		if err := adapter.SaveWeights(tr.Model, filepath.Join(set.Dir(), adapter.File)); err != nil {
			return err
		}
		if err := s.WriteState(set, "state"); err != nil {
			return err
		}
		return set.Commit()
	}
	tr.Save = func(s Snapshot) (run.Saved, error) {
		if s.Iteration == 2 {
			return run.Saved{}, save(old, s)
		}
		if s.Iteration == 6 && s.Checkpoint {
			killtest.Everywhere(t, func(dir string) error { return os.CopyFS(dir, os.DirFS(old)) }, func(dir string) error { return save(dir, s) })
		}
		return run.Saved{}, nil
	}
	if _, err := tr.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}
