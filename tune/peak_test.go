package tune

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/demo"
	"github.com/lentil-lm/lentil/internal/spoil"
	"github.com/lentil-lm/lentil/machine"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/run"
)

const (
	peakSetting = "LENTIL_TEST_PEAK_SETTING" // for the process that trains
	peakAll     = "LENTIL_TEST_PEAK"         // all: measure every setting; the first two are enough otherwise
	// peakTolerance is how far the plan may be from the peak, as a share of it: the garbage collector has its own time.
	peakTolerance = 0.10
)

// A peakRun is a setting to measure.
type peakRun struct {
	Model           string // empty: the demo's; dense: 6 layers of f16; else a path
	Type, Optimizer string
	Batch, Length   int
	Layers          int
	Checkpoint      bool
}

// TestPlanPeak compares the plan with the most memory that a process held which did nothing but the run.
func TestPlanPeak(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the peak of a process is not known on " + runtime.GOOS)
	}
	if spoil.RaceDetector {
		t.Skip("memory is not measured: the race detector takes most of it")
	}
	if text := os.Getenv(peakSetting); text != "" {
		measurePeak(t, text)
		return
	}
	runs := []peakRun{{"", "lora", "adam", 4, 256, -1, false}, {"dense", "full", "sgd", 1, 128, 2, false}}
	if os.Getenv(peakAll) == "all" {
		smol, err := filepath.Abs("../.interop/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
		if err != nil {
			t.Fatal(err)
		}
		runs = append(runs, peakRun{"dense", "full", "adam", 4, 256, -1, false}, peakRun{"dense", "full", "adafactor", 8, 128, -1, true},
			peakRun{"dense", "dora", "adam", 1, 1024, -1, false}, peakRun{"", "dora", "sgd", 8, 128, 2, true}, peakRun{"", "lora", "adafactor", 1, 2048, -1, true},
			peakRun{smol, "lora", "adam", 1, 128, 16, false}, peakRun{smol, "lora", "adam", 4, 256, 16, false}, peakRun{smol, "dora", "adam", 1, 512, 4, true})
	}
	for _, r := range runs {
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0], "-test.run=^TestPlanPeak$", "-test.v")
		cmd.Env = append(os.Environ(), peakSetting+"="+string(text))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", text, err, out)
			continue
		}
		var planned, peak int64
		_, after, _ := strings.Cut(string(out), "measured ")
		if _, err := fmt.Sscan(after, &planned, &peak); err != nil {
			t.Errorf("%s: %v\n%s", text, err, out)
			continue
		}
		ratio := float64(planned) / float64(peak)
		t.Logf("%s: planned %s, the peak was %s: %.3f", text, run.Bytes(planned), run.Bytes(peak), ratio)
		if !(math.Abs(ratio-1) <= peakTolerance) {
			t.Errorf("%s: the plan is %.0f %% of the peak", text, 100*ratio)
		}
	}
}

// measurePeak trains two steps and prints what was planned and what the process held.
func measurePeak(t *testing.T, text string) {
	var s peakRun
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	r := demoRecipe(t)
	switch s.Model {
	case "":
	case "dense":
		r.Model = denseModel(t)
	default:
		r.Model = s.Model
	}
	r.Iters, r.StepsPerEval, r.SaveEvery, r.MaskPrompt, r.Threads = 2, 2, 2, false, 0
	r.FineTuneType, r.Optimizer, r.BatchSize, r.MaxSeqLength, r.NumLayers, r.GradCheckpoint = s.Type, s.Optimizer, s.Batch, s.Length, s.Layers, s.Checkpoint
	row, err := json.Marshal(map[string]string{"text": strings.Repeat("Fibre feeds what lives in the gut. ", s.Length/5)})
	if err != nil {
		t.Fatal(err)
	}
	rows := []byte(strings.Repeat(string(row)+"\n", s.Batch))
	r.Data = folder(t, map[string][]byte{"train.jsonl": rows, "valid.jsonl": rows})
	var told events
	if _, err := Run(t.Context(), r, Options{Report: &told}); err != nil {
		t.Fatal(err)
	}
	for _, e := range told {
		if p, ok := e.(run.Plan); ok {
			fmt.Println("measured", p.TotalBytes, machine.PeakMemory())
		}
	}
}

// denseModel writes a model of random f16 weights with the demo's tokenizer.
func denseModel(t *testing.T) string {
	config, tensors := modeltest.Contents(t, modeltest.Spec{Type: "llama", DType: quant.F16, Config: map[string]any{
		"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 4096,
	}})
	dir, from := modeltest.WriteFolder(t, maps.Clone(config), tensors), t.TempDir()
	if err := demo.Write(from, false); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tokenizer.json", "tokenizer_config.json"} {
		data, err := os.ReadFile(filepath.Join(from, "model", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
