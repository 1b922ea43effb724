package interop

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/fallback"
	mlxdevice "github.com/lentil-lm/lentil/compute/mlx"
	"github.com/lentil-lm/lentil/compute/plan"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/train"
	"github.com/lentil-lm/lentil/weights"
)

// roundedTolerance is for 30 steps of a bf16 model beside mlx-lm over another version of MLX: mlx-lm's own losses over 0.32.2 and 0.32.4 differ by
// 2.7e-3. Over one version they are the same as Lentil's: TestBesideMLXLM.
const roundedTolerance = 3e-3

// Training through MLX itself: the arithmetic is that of mlx-lm's own library.
func TestTrainingThroughMLX(t *testing.T) {
	t.Parallel()
	need(t, "MLX")
	for name, tolerance := range map[string]float64{
		"defaults": lossTolerance, "mask": lossTolerance, "accumulate": lossTolerance, "adamw": lossTolerance,
		"sgd": lossTolerance, "muon": lossTolerance, "adafactor": lossTolerance, "adafactor-schedule": lossTolerance,
		"short": lossTolerance, "full": lossTolerance,
		"dora": lossTolerance, "dora-dense": lossTolerance, "dora-bf16": bf16Tolerance,
		"bf16": roundedTolerance, "dropout": dropoutTolerance, "mixtral": lossTolerance, "qwen3_moe": lossTolerance,
	} {
		if os.Getenv("LENTIL_TEST_MLX") == "" && !slices.Contains([]string{"short", "full", "dora", "mixtral"}, name) {
			continue // one of each kind of what is trained
		}
		t.Run(name, func(t *testing.T) {
			want := readTraining(t, name)
			folder := t.TempDir()
			options := maps.Clone(want.Options)
			options["device"] = "mlx"
			sameCurve(t, roundingHome(t, tolerance).train(t, options, folder), want, tolerance)
			sameAdapter(t, folder, name, want)
		})
	}
}

// TestBesideMLXLM trains with mlx_lm.lora and with Lentil, now, over the same build of MLX: losses are the same, those of a bf16 model too.
func TestBesideMLXLM(t *testing.T) {
	need(t, "MLX", "mlx-lm")
	steps := 4
	if os.Getenv("LENTIL_TEST_MLX") != "" {
		steps = 30
	}
	python, err := filepath.Abs("../.interop/mlx/python")
	if err != nil {
		t.Fatal(err)
	}
	for name, home := range map[string]hubHome{"short": mlxHome(t), "bf16": mlxHome(t, "LENTIL_MLX_ROUND=1")} {
		t.Run(name, func(t *testing.T) {
			options := maps.Clone(readTraining(t, name).Options)
			options["adapter_path"], options["iters"], options["val_batches"], options["test"] = t.TempDir(), steps, 1, false
			var want training
			cmd := exec.Command("../.interop/venv/bin/python", "peer/mlxpeer.py", "train", writeJSON(t, "options.json", options))
			cmd.Env = append(os.Environ(), "PYTHONPATH="+python, "MLX_DISABLE_COMPILE=1") // g++ takes longer than all steps, and losses stay
			if err := json.Unmarshal([]byte(command(t, cmd)), &want); err != nil {
				t.Fatal(err)
			}
			options["device"] = "mlx"
			sameCurve(t, home.train(t, options, t.TempDir()), want, lossTolerance)
		})
	}
}

// roundingHome is mlxHome where results are rounded as by mlx-lm if the tolerance wants it.
func roundingHome(t *testing.T, tolerance float64) hubHome {
	t.Helper()
	if tolerance == roundedTolerance {
		return mlxHome(t, "LENTIL_MLX_ROUND=1")
	}
	return mlxHome(t)
}

// mlxHome has commands find MLX's library.
func mlxHome(t *testing.T, env ...string) hubHome {
	t.Helper()
	library, err := filepath.Abs("../.interop/mlx/lib/libmlxc.so")
	if err != nil {
		t.Fatal(err)
	}
	return hubHome{env: append(append(os.Environ(), "LENTIL_MLXC="+library), env...)}
}

// TestKilledThroughMLX: a training that is killed twice and begun again leaves the bytes of one that went through.
func TestKilledThroughMLX(t *testing.T) {
	t.Parallel()
	need(t, "MLX")
	options := maps.Clone(readTraining(t, "short").Options)
	options["device"], options["iters"], options["save_every"], options["val_batches"] = "mlx", 12, 3, 0
	begin := func(folder string) *exec.Cmd {
		options["adapter_path"] = folder
		return mlxHome(t).lentil(t, "lora", "--train", "--config", writeJSON(t, "options.yaml", options))
	}
	whole, killed := t.TempDir(), t.TempDir()
	command(t, begin(whole))
	for _, after := range []int{2, 7} { // steps
		cmd := begin(killed)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for steps(killed) < after {
			select {
			case err := <-ended:
				t.Fatalf("it ended after %d steps: %v", steps(killed), err)
			case <-time.After(20 * time.Millisecond):
			}
		}
		cmd.Process.Kill()
		if err := <-ended; err == nil {
			t.Fatalf("it was over before it was killed, after %d steps", after)
		}
	}
	command(t, begin(killed))
	for _, name := range []string{"adapters.safetensors", "0000009_adapters.safetensors", "state/state.safetensors"} {
		want, err := os.ReadFile(filepath.Join(whole, name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(killed, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs, %v", name, err)
		}
	}
}

// steps is how many a run's log tells of.
func steps(folder string) (n int) {
	records, _ := run.ReadLog(filepath.Join(folder, run.LogName))
	for _, r := range records {
		if e, ok := r.Event.(run.TrainReport); ok {
			n = max(n, e.Iteration)
		}
	}
	return n
}

// throughMLX opens MLX, with float32 activations.
func throughMLX(t *testing.T) compute.Device {
	t.Helper()
	need(t, "MLX")
	dev, err := mlxdevice.New(mlxdevice.Options{Library: "../.interop/mlx/lib/libmlxc.so", Activations: compute.F32})
	if err != nil {
		t.Fatal(err)
	}
	whole := fallback.New(dev)
	t.Cleanup(func() { whole.Close() })
	return whole
}

// Tiny models of every family: the logits of the processor's own device, in one pass and token by token.
func TestLogitsThroughMLX(t *testing.T) {
	t.Parallel()
	dev := throughMLX(t)
	folders := map[string]string{}
	for _, s := range modeltest.Architectures() {
		folders[s.Type] = modeltest.Write(t, s)
	}
	for _, name := range []string{"llama-4bit", "llama-4bit-bf16", "qwen3-mixed-3-6", "qwen2-every-width", "mixtral-4bit", "qwen3_moe-4bit"} {
		folders[name] = "testdata/mlx/" + name
	}
	for name, folder := range folders {
		t.Run(name, func(t *testing.T) {
			own := open(t, folder, "")
			m := modeltest.Open(t, dev, folder)
			tokens := modeltest.Sequence(24)
			for i := range tokens {
				tokens[i] %= int32(own.Config.VocabSize)
			}
			want := forward(t, own, tokens)
			width := float64(slices.Max(want) - slices.Min(want))
			for how, got := range map[string][]float32{
				"one pass": forward(t, m, tokens), "token by token": cached(t, m, tokens, compute.F32, 1), "pieces": cached(t, m, tokens, compute.F32, 9, 5, 1),
			} {
				worst, row := furthest(got, want, own.Config.VocabSize)
				t.Logf("%s: furthest by %.1e of the range", how, worst/width)
				if !(worst <= width*tolerance) {
					t.Errorf("%s: logits of token %d differ by %.3g, allowed %.3g", how, row, worst, width*tolerance)
				}
			}
		})
	}
}

// counter notes what MLX holds at each report.
type counter struct {
	dev    *mlxdevice.Device
	arrays []int
	used   []int64
}

func (c *counter) Report(e run.Event) {
	if _, ok := e.(run.TrainReport); ok {
		used, _ := c.dev.Memory()
		c.arrays, c.used = append(c.arrays, c.dev.Arrays()), append(c.used, used)
	}
}

// TestArraysStayFew: MLX ends a process that holds 499,000 arrays. A step holds no more than the one before it. Not parallel: what is counted is
// that of all devices.
func TestArraysStayFew(t *testing.T) {
	need(t, "MLX")
	dev, err := mlxdevice.New(mlxdevice.Options{Library: "../.interop/mlx/lib/libmlxc.so"})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	m := modeltest.Load(t, fallback.New(dev), modeltest.Architectures()[0])
	defer m.Free()
	if _, err := adapter.New(m, adapter.Config{Rank: 4, Scale: 4}, compute.NewKey(0)); err != nil {
		t.Fatal(err)
	}
	steps := 100
	if os.Getenv("LENTIL_TEST_MLX") != "" {
		steps = 500
	}
	c := &counter{dev: dev.(*mlxdevice.Device)}
	tr := &train.Trainer{Model: m, Train: rowsOfLength(12), Valid: rowsOfLength(12), Reporter: c, Save: func(train.Snapshot) (run.Saved, error) { return run.Saved{}, nil },
		Options: train.Options{
			BatchSize: 12, Iters: steps, ValBatches: -1, StepsPerReport: 1, StepsPerEval: steps, SaveEvery: steps, GradAccumulationSteps: 1, MaxSeqLength: 64,
			Optimizer: train.OptimizerConfig{Name: "adam"}, Schedule: train.Constant(1e-3),
		}}
	if _, err := tr.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	const settled = 10 // steps
	most, later := slices.Max(c.arrays[:settled]), slices.Max(c.arrays[settled:])
	bytes, laterBytes := slices.Max(c.used[:settled]), slices.Max(c.used[settled:])
	t.Logf("arrays after each of %d steps: at most %d in the first %d, %d later; bytes %d and %d", steps, most, settled, later, bytes, laterBytes)
	if later > most || laterBytes > bytes+bytes/10 {
		t.Error("what is held grows from step to step")
	}
}

// TestPlanOfMLX compares what a step takes by the plan with what MLX held at most. Not parallel: that is one figure of all devices.
func TestPlanOfMLX(t *testing.T) {
	need(t, "MLX")
	const tolerance = 0.10 // of the peak
	for _, c := range []struct {
		name        string
		rows, row   int
		bits        int
		fineTune    string
		checkpoint  bool
		activations compute.DType
	}{
		{"a long row", 1, 320, 4, "lora", false, compute.F32},
		{"rows, bf16", 4, 64, 4, "lora", false, compute.BF16},
		{"checkpoints", 2, 128, 0, "lora", true, compute.F32},
		{"full", 2, 128, 0, "full", false, compute.F32},
	} {
		t.Run(c.name, func(t *testing.T) {
			src, err := weights.Open(modeltest.Write(t, modeltest.Spec{Type: "llama", Bits: c.bits, DType: quant.F32, Config: map[string]any{
				"hidden_size": 256, "num_hidden_layers": 4, "intermediate_size": 768, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 4096,
			}}))
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			dev, err := mlxdevice.New(mlxdevice.Options{Library: "../.interop/mlx/lib/libmlxc.so", Activations: c.activations, Ahead: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer dev.Close()
			step := func(dev compute.Device) {
				t.Helper()
				m, err := model.Load(dev, src)
				if err != nil {
					t.Fatal(err)
				}
				if c.fineTune == "full" {
					err = m.Unfreeze(2, false)
				} else {
					_, err = adapter.New(m, adapter.Config{Rank: 8, Scale: 4}, compute.NewKey(0))
				}
				if err != nil {
					t.Fatal(err)
				}
				tr := &train.Trainer{Model: m, Options: train.Options{
					BatchSize: c.rows, Iters: 2, GradAccumulationSteps: 1, MaxSeqLength: c.row, GradCheckpoint: c.checkpoint,
					Optimizer: train.OptimizerConfig{Name: "adam"}, Schedule: train.Constant(1e-5),
				}}
				for range 2 {
					if err := errors.Join(tr.DryRun(slices.Repeat([]int{c.row}, c.rows)), dev.Sync()); err != nil {
						t.Fatal(err)
					}
				}
			}
			planned := plan.New(plan.For(dev))
			step(planned)
			r := planned.Report()
			step(fallback.New(dev))
			_, peak := dev.Memory()
			ratio := float64(r.WeightBytes+r.HeldBytes) / float64(peak)
			t.Logf("planned %s of weights and %s, the peak was %s: %.3f", run.Bytes(r.WeightBytes), run.Bytes(r.HeldBytes), run.Bytes(peak), ratio)
			if !(math.Abs(ratio-1) <= tolerance) {
				t.Errorf("the plan is %.0f %% of the peak", 100*ratio)
			}
		})
	}
}

// rows are examples by their number.
type rows []train.Example

func (r rows) Len() int { return len(r) }

func (r rows) Example(i int) (train.Example, error) { return r[i], nil }

func (r rows) Where(i int) string { return fmt.Sprintf("row %d", i+1) }

// rowsOfLength are so many rows of 6 to 10 tokens.
func rowsOfLength(n int) rows {
	var out rows
	for i := range n {
		row := train.Example{IDs: make([]int32, 6+i%5)}
		for k := range row.IDs {
			row.IDs[k] = int32((i + k*k*3 + 7*k) % modeltest.Vocab)
		}
		row.Loss = [][2]int{{3, len(row.IDs)}}
		out = append(out, row)
	}
	return out
}
