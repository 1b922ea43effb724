package bench

import (
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda"
	"github.com/lentil-lm/lentil/compute/cuda/emulate"
	"github.com/lentil-lm/lentil/compute/fallback"
	"github.com/lentil-lm/lentil/compute/plan"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/train"
	"github.com/lentil-lm/lentil/weights"
)

// outline writes the folder of Shape.Write with a file of weights that has its length and nothing in it.
func (s Shape) outline(t testing.TB, bits, group int) string {
	t.Helper()
	dir := t.TempDir()
	text, err := s.configText(bits, group)
	if err != nil {
		t.Fatal(err)
	}
	c, err := model.ParseConfig(text, "config.json")
	if err != nil {
		t.Fatal(err)
	}
	w := randomWeights{bits: bits, group: group, random: rand.New(rand.NewPCG(0, 0))}
	w.all(c)
	header, at := map[string]any{}, int64(0)
	for _, e := range w.entries {
		n := compute.Spec{Shape: e.Shape, DType: e.DType}.Bytes()
		header[e.Name] = map[string]any{"dtype": e.DType.String(), "shape": e.Shape, "data_offsets": []int64{at, at + n}}
		at += n
	}
	head, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "model.safetensors")
	if err := os.WriteFile(file, append(binary.LittleEndian.AppendUint64(nil, uint64(len(head))), head...), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, int64(8+len(head))+at); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), text, 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestPlanForCard compares the plan of a LoRA step with what an H200 took: see docs/gpu.md.
func TestPlanForCard(t *testing.T) {
	t.Setenv("EMULATED_CUDA", "capability=90,cores=132")
	card, err := cuda.New(cuda.Options{Driver: emulate.Library(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer card.Close()
	shape, err := FindShape("ministral-8b")
	if err != nil {
		t.Fatal(err)
	}
	src, err := weights.Open(shape.outline(t, 4, 64))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	for _, c := range []struct {
		tokens, layers int
		recorded       float64 // GB
	}{{512, 16, 9.674}, {2048, 16, 17.363}, {512, -1, 15.035}} {
		planned := plan.New(plan.For(fallback.New(card)))
		m, err := model.Load(planned, src)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := adapter.New(m, adapter.Config{Rank: 8, Scale: 20, NumLayers: c.layers}, compute.NewKey(0)); err != nil {
			t.Fatal(err)
		}
		o := train.Defaults()
		o.MaxSeqLength = c.tokens + 1
		tr := &train.Trainer{Model: m, Options: o}
		if err := tr.DryRun([]int{c.tokens + 1, c.tokens + 1, c.tokens + 1, c.tokens + 1}); err != nil {
			t.Fatal(err)
		}
		r := planned.Report()
		got := float64(r.WeightBytes+r.HeldBytes) / 1e9
		t.Logf("4 rows of %d, %d layers: planned %.2f GB, %.2f of weights; an H200 took %.2f", c.tokens, c.layers, got, float64(r.WeightBytes)/1e9, c.recorded)
		if got < 0.9*c.recorded || got > 1.1*c.recorded {
			t.Errorf("4 rows of %d: planned %.2f GB, an H200 took %.2f", c.tokens, got, c.recorded)
		}
	}
}
