package export_test

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/export"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/weights"
)

// exportMerged writes a loaded model with what is attached to it as a GGUF file.
func exportMerged(t *testing.T, m *model.Model, kind string) string {
	t.Helper()
	typ, err := export.ParseGGUFType(kind)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "merged.gguf")
	if _, err := export.GGUF(m.Source(), trained(t), export.GGUFOptions{Path: path, Type: typ, Model: m}); err != nil {
		t.Fatalf("%s: %v", kind, err)
	}
	return path
}

func hostFloats(t *testing.T, m *model.Model, module string) []float32 {
	t.Helper()
	w, ok := m.Matrix(module)
	if !ok {
		t.Fatalf("%s is missing", module)
	}
	host, err := w.Host(m.Device())
	if err != nil {
		t.Fatal(err)
	}
	return host.Floats()
}

// TestGGUFOfAdapter: the sum of base and adapter is rounded once, to the type of
// the file; what has no adapter keeps the very weights of a quantized base.
func TestGGUFOfAdapter(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	const adaptedQ, adaptedDown = "model.layers.1.self_attn.q_proj", "model.layers.1.mlp.down_proj"
	for kind, scales := range map[string]quant.DType{"llama": quant.F16, "qwen2": quant.BF16} { // with and without rows in rotated pairs
		dir := modeltest.Write(t, modeltest.Spec{Type: kind, DType: scales, Bits: 4, Config: map[string]any{"vocab_size": ggufVocab}})
		base := modeltest.Open(t, dev, dir)
		m := adapted(t, dev, dir, adaptedQ, adaptedDown)
		whole := modeltest.Open(t, dev, exportMerged(t, m, "F32"))
		if d := distance(logits(t, whole), logits(t, m)); d > exactTolerance {
			t.Errorf("%s: logits of the merged model differ by %g", kind, d)
		}
		for _, test := range []struct {
			kind  string
			block quant.BlockType
			keeps bool // 4-bit integers with an offset for each group
		}{{"Q4_1", quant.BlockQ4_1, true}, {"Q8_0", quant.BlockQ8_0, false}} {
			got := modeltest.Open(t, dev, exportMerged(t, m, test.kind))
			for _, l := range got.Linears() {
				has, was, sum := hostFloats(t, got, l.Name), hostFloats(t, base, l.Name), hostFloats(t, whole, l.Name)
				if l.Name == adaptedQ || l.Name == adaptedDown {
					blocks := make([]byte, len(sum)/32*test.block.Bytes())
					if !test.block.Encode(blocks, sum) {
						t.Fatal("not finite")
					}
					once := make([]float32, len(sum))
					test.block.Decode(once, blocks)
					if slices.Equal(sum, was) || !slices.Equal(has, once) {
						t.Errorf("%s as %s: %s is not base and adapter rounded once", kind, test.kind, l.Name)
					}
				} else if !slices.Equal(sum, was) || test.keeps && !slices.Equal(has, was) {
					t.Errorf("%s as %s: %s has changed without an adapter", kind, test.kind, l.Name)
				}
			}
		}
	}
}

// TestGGUFOfDoRA: a DoRA goes into the file with its magnitudes.
func TestGGUFOfDoRA(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	dir := modeltest.Write(t, modeltest.Spec{Type: "llama", Bits: 4, DType: quant.F16, Config: map[string]any{"vocab_size": ggufVocab}})
	base := logits(t, modeltest.Open(t, dev, dir))
	m := adaptedBy(t, dev, dir, adapter.Config{Rank: 2, Scale: 2, DoRA: true})
	want := logits(t, m)
	if d := distance(logits(t, modeltest.Open(t, dev, exportMerged(t, m, "F32"))), want); d > exactTolerance {
		t.Errorf("logits of the merged model differ by %g", d)
	}
	if distance(want, base) < 0.01 {
		t.Error("the adapter changes nothing")
	}
}

// TestGGUFOfFullFineTuning: norms and biases that were trained go into the file too.
func TestGGUFOfFullFineTuning(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	dir := modeltest.Write(t, modeltest.Spec{Type: "qwen2", Config: map[string]any{"vocab_size": ggufVocab}})
	m := modeltest.Open(t, dev, dir)
	before := logits(t, m)
	if err := m.Unfreeze(1, true); err != nil {
		t.Fatal(err)
	}
	modeltest.Shake(t, m, 0.1)
	want := logits(t, m)
	got := logits(t, modeltest.Open(t, dev, exportMerged(t, m, "F32")))
	if d := distance(got, want); d > exactTolerance {
		t.Errorf("logits differ by %g", d)
	}
	if distance(want, before) < 0.01 {
		t.Error("training changed nothing")
	}
}

// TestGGUFOfDivergedAdapter: an update that is not finite is refused, and no file is left.
func TestGGUFOfDivergedAdapter(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	m := adapted(t, dev, modeltest.Write(t, modeltest.Spec{Type: "llama", Config: map[string]any{"vocab_size": ggufVocab}}), "model.layers.0.mlp.up_proj")
	modeltest.Shake(t, m, 3e38)
	typ, _ := export.ParseGGUFType("F16")
	dir := t.TempDir()
	_, err := export.GGUF(m.Source(), trained(t), export.GGUFOptions{Path: filepath.Join(dir, "x.gguf"), Type: typ, Model: m})
	if err == nil || !strings.Contains(err.Error(), "diverged") {
		t.Errorf("error %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("%v was left", left)
	}
}

// TestGGUFAgain: a GGUF file written again in its own type has the same bytes.
func TestGGUFAgain(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	dir := modeltest.Write(t, modeltest.Spec{Type: "llama", Config: map[string]any{
		"vocab_size": ggufVocab, "hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 1,
	}})
	for _, kind := range []string{"F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q4_K_M", "Q5_K_M", "Q6_K"} {
		once, _ := exportGGUF(t, dir, kind)
		again, _ := exportGGUF(t, once, kind)
		a, b := stored(t, once), stored(t, again)
		for name, data := range a {
			if !bytes.Equal(data, b[name]) {
				t.Errorf("%s: %s has other bytes the second time", kind, name)
			}
		}
		if len(a) != len(b) {
			t.Errorf("%s: %d tensors, then %d", kind, len(a), len(b))
		}
		// With an adapter on one matrix only that one changes.
		tuned := stored(t, exportMerged(t, adapted(t, dev, once, "model.layers.0.self_attn.q_proj"), kind))
		for name, data := range a {
			if same := bytes.Equal(data, tuned[name]); same == (name == "blk.0.attn_q.weight") {
				t.Errorf("%s: %s has the same bytes with an adapter on attn_q: %v", kind, name, same)
			}
		}
	}
}

// stored gives the bytes of each tensor of a GGUF file.
func stored(t *testing.T, path string) map[string][]byte {
	t.Helper()
	f, err := weights.OpenGGUFFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	out := map[string][]byte{}
	for _, x := range f.Tensors {
		out[x.Name] = x.Data
	}
	return out
}
