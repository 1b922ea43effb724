package adapter_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cpu"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tensor"
	"github.com/lentil-lm/lentil/weights"
)

// writeAdapter makes an adapter folder; a nil model gives no adapters.safetensors.
func writeAdapter(t *testing.T, config string, m *model.Model) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, adapter.ConfigFile), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	if m != nil {
		if err := adapter.SaveWeights(m, filepath.Join(dir, adapter.File)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const loraConfig = `{"fine_tune_type": "lora", "num_layers": 1, "lora_parameters": {"rank": 3, "scale": 4.0, "dropout": 0.1}}`

const doraConfig = `{"fine_tune_type": "dora", "num_layers": 1, "lora_parameters": {"rank": 3, "scale": 4.0, "dropout": 0.1}}`

// What the two configs say.
var (
	loraFit = adapter.Config{Rank: 3, Scale: 4, NumLayers: 1}
	doraFit = adapter.Config{Rank: 3, Scale: 4, NumLayers: 1, DoRA: true}
)

// adapted is a model with a random LoRA as loraConfig says.
func adapted(t *testing.T, dev compute.Device, s modeltest.Spec) *model.Model {
	t.Helper()
	return adaptedBy(t, dev, s, loraFit)
}

// adaptedBy is a model with a random adapter.
func adaptedBy(t *testing.T, dev compute.Device, s modeltest.Spec, c adapter.Config) *model.Model {
	t.Helper()
	m := modeltest.Load(t, dev, s)
	if _, err := adapter.New(m, c, compute.NewKey(0)); err != nil {
		t.Fatal(err)
	}
	modeltest.Shake(t, m, 0.2)
	return m
}

func TestAdapterComesBack(t *testing.T) {
	t.Parallel()
	tokens := model.Sequence(modeltest.Sequence(9), 0)
	for _, spec := range modeltest.Architectures() {
		dev := newCPU(t)
		base := modeltest.Load(t, dev, spec)
		plain := modeltest.Logits(t, base, tokens)
		for name, fit := range map[string]struct {
			config  string
			prepare func(m *model.Model) error
		}{
			"lora": {loraConfig, func(m *model.Model) error {
				_, err := adapter.New(m, loraFit, compute.NewKey(0))
				return err
			}},
			"dora": {doraConfig, func(m *model.Model) error {
				_, err := adapter.New(m, doraFit, compute.NewKey(0))
				return err
			}},
			"full":                 {`{"fine_tune_type": "full", "num_layers": 1, "lora_parameters": null}`, func(m *model.Model) error { return m.Unfreeze(1, false) }},
			"full with embeddings": {`{"fine_tune_type": "full", "num_layers": -1}`, func(m *model.Model) error { return m.Unfreeze(-1, true) }},
		} {
			trained := modeltest.Load(t, dev, spec)
			if err := fit.prepare(trained); name == "dora" && modeltest.HasExperts(spec) {
				if err == nil || !strings.Contains(err.Error(), "experts take no DoRA") || len(trained.Adapted()) > 0 {
					t.Errorf("%s, %s: error %v", spec.Type, name, err)
				}
				trained.Free()
				continue
			} else if err != nil {
				t.Fatal(err)
			}
			modeltest.Shake(t, trained, 0.2)
			dir := writeAdapter(t, fit.config, trained)
			again := modeltest.Load(t, dev, spec)
			for range 2 { // the second takes the place of the first
				if err := adapter.Load(again, dir); err != nil {
					t.Fatalf("%s, %s: %v", spec.Type, name, err)
				}
			}
			want := modeltest.Logits(t, trained, tokens)
			modeltest.Alike(t, spec.Type+", "+name, modeltest.Logits(t, again, tokens), want, sameTolerance)
			if slices.Equal(want, plain) {
				t.Errorf("%s, %s: the adapter changes nothing", spec.Type, name)
			}
			again.Free()
			trained.Free()
		}
		base.Free()
		if used(dev) != 0 {
			t.Errorf("%s: %d bytes held after all models were freed", spec.Type, used(dev))
		}
	}
}

func TestAdapterErrors(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	spec := modeltest.Spec{Type: "llama"}
	small := adapted(t, dev, modeltest.Spec{Type: "llama", Config: map[string]any{"intermediate_size": 32}})
	full := modeltest.Load(t, dev, modeltest.Spec{Type: "llama", Config: map[string]any{"intermediate_size": 32}})
	if err := full.Unfreeze(1, false); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, config string
		from         *model.Model
		want         []string
	}{
		{"adapter of another model", loraConfig, small, []string{adapter.File, "3 tensors do not fit", "mlp.down_proj.lora_a", "[32 3]", "[64 3]", "another model"}},
		{"full weights of another model", `{"fine_tune_type": "full"}`, full, []string{"mlp.down_proj.weight", "another model"}},
		{"lora read as full", `{"fine_tune_type": "full"}`, small, []string{"lora_a", "another model"}},
		{"other rank", strings.Replace(loraConfig, "3", "2", 1), small, []string{"lora_parameters", "say rank 2", "do not belong together"}},
		{"more layers than there are", strings.Replace(loraConfig, `"num_layers": 1`, `"num_layers": 16`, 1), small, []string{"num_layers is 16", "has 2 layers", adapter.ConfigFile}},
		{"DoRA of another model", doraConfig, adaptedBy(t, dev, modeltest.Spec{Type: "llama", Config: map[string]any{"intermediate_size": 32}}, doraFit), []string{"mlp.gate_proj.m", "[32]", "[64]"}},
		{"DoRA read as LoRA", loraConfig, adaptedBy(t, dev, spec, doraFit), []string{"mlp.down_proj.m (no such parameter)", "7 tensors"}},
		{"unknown type", `{"fine_tune_type": "prefix"}`, small, []string{`"prefix"`, "lora, dora, full"}},
		{"no parameters", `{"fine_tune_type": "lora"}`, small, []string{"lora_parameters is missing"}},
		{"no rank", `{"lora_parameters": {"scale": 1}}`, small, []string{"rank is 0"}},
		{"absurd rank", `{"lora_parameters": {"rank": 4611686018427387904}}`, small, []string{"rank is 4611686018427387904"}},
		{"unknown key", `{"lora_parameters": {"rank": 3, "keys": ["self_attn.q_proj", "mlp.router"]}}`, small, []string{`"mlp.router"`}},
		{"bad JSON", "{\n\"fine_tune_type\": lora}", small, []string{adapter.ConfigFile + ":2:19: "}},
		{"no weights", loraConfig, nil, []string{adapter.File}},
	} {
		dir := writeAdapter(t, test.config, test.from)
		m := modeltest.Load(t, dev, spec)
		before := used(dev)
		err := adapter.Load(m, dir)
		if err == nil {
			t.Errorf("%s: it was loaded", test.name)
			continue
		}
		for _, part := range test.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: error %q does not say %q", test.name, err, part)
			}
		}
		if n := len(m.Adapted()); n > 0 || used(dev) != before {
			t.Errorf("%s: %d layers carry an adapter after the error, %d bytes more are held", test.name, n, used(dev)-before)
		}
	}
	if err := adapter.Load(modeltest.Load(t, dev, spec), t.TempDir()); err == nil || !strings.Contains(err.Error(), "not an adapter folder") {
		t.Errorf("an empty folder gives %v", err)
	}
}

// TestIncompleteAdapter: nothing is made for what the file does not hold. Projections
// that it does not change stay as they are, since older settings have no keys.
func TestIncompleteAdapter(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	spec := modeltest.Spec{Type: "llama"}
	tokens := model.Sequence(modeltest.Sequence(9), 0)
	queries := adaptedBy(t, dev, spec, adapter.Config{Rank: 3, Scale: 4, NumLayers: 1, Keys: []string{"self_attn.q_proj"}})
	m := modeltest.Load(t, dev, spec)
	if err := adapter.Load(m, writeAdapter(t, loraConfig, queries)); err != nil {
		t.Fatal(err)
	}
	if n := len(m.Adapted()); n != 1 {
		t.Errorf("%d projections carry an adapter, 1 is in the file", n)
	}
	modeltest.Alike(t, "queries alone", modeltest.Logits(t, m, tokens), modeltest.Logits(t, queries, tokens), sameTolerance)

	const rank = 8192
	module := "model.layers.1.self_attn.q_proj"
	a := weights.Tensor{Name: module + ".lora_a", DType: quant.F16, Shape: []int{modeltest.Hidden, rank}, Data: make([]byte, 2*modeltest.Hidden*rank)}
	b := weights.Tensor{Name: module + ".lora_b", DType: quant.F16, Shape: []int{rank, modeltest.Hidden}, Data: a.Data}
	for _, test := range []struct {
		kind    string
		tensors []weights.Tensor
		missing string
	}{{"lora", []weights.Tensor{a}, "lora_b"}, {"lora", []weights.Tensor{b}, "lora_a"}, {"dora", []weights.Tensor{a, b}, "m"}} {
		dir := writeAdapter(t, fmt.Sprintf(`{"fine_tune_type": %q, "lora_parameters": {"rank": %d, "scale": 1}}`, test.kind, rank), nil)
		if err := weights.WriteSafetensors(filepath.Join(dir, adapter.File), test.tensors, nil); err != nil {
			t.Fatal(err)
		}
		if err := adapter.Load(m, dir); err == nil || !strings.Contains(err.Error(), module+"."+test.missing+" (is missing") || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s without %s: %v", test.kind, test.missing, err)
		}
	}
}

// full is a device whose memory is used up after so many imports.
type full struct {
	*cpu.Device
	left int
}

func (f *full) ImportWeight(m *quant.Matrix) (compute.Buffer, error) {
	if f.left--; f.left < 0 {
		return nil, compute.ErrNoMemory
	}
	return f.Device.ImportWeight(m)
}

// TestWholeWeightsOutOfMemory: a model that has got some of the weights of full fine-tuning
// when memory ends can still be run and freed: their file stays open.
func TestWholeWeightsOutOfMemory(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	spec := modeltest.Spec{Type: "llama"}
	trained := modeltest.Load(t, dev, spec)
	if err := trained.Unfreeze(-1, true); err != nil {
		t.Fatal(err)
	}
	path := writeAdapter(t, `{"fine_tune_type": "full"}`, trained)
	trained.Free()
	for n := range 5 {
		f := &full{Device: dev, left: math.MaxInt}
		m := modeltest.Load(t, f, spec)
		f.left = n
		if err := adapter.Load(m, path); !errors.Is(err, compute.ErrNoMemory) {
			t.Fatalf("after %d imports: %v", n, err)
		}
		modeltest.Logits(t, m, model.Sequence(modeltest.Sequence(9), 0))
		m.Free()
		if used(dev) != 0 {
			t.Errorf("after %d imports: %d bytes are held", n, used(dev))
		}
	}
}

// TestResume loads by name. What another training would lose, or has another shape, is
// refused.
func TestResume(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	spec := modeltest.Spec{Type: "llama", Config: map[string]any{"tie_word_embeddings": false}}
	resume := func(a *model.Model, change func(*model.Model) error) (*model.Model, error) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "a.safetensors")
		if err := adapter.SaveWeights(a, file); err != nil {
			t.Fatal(err)
		}
		f, err := weights.OpenSafetensors(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		m := modeltest.Load(t, dev, spec)
		if err := change(m); err != nil {
			t.Fatal(err)
		}
		return m, adapter.Resume(m, f)
	}
	with := func(c adapter.Config) func(*model.Model) error {
		return func(m *model.Model) error {
			_, err := adapter.New(m, c, compute.NewKey(1))
			return err
		}
	}
	query := adapter.Config{Rank: 3, Scale: 4, Keys: []string{"self_attn.q_proj"}, NumLayers: 1}
	a := adaptedBy(t, dev, spec, query)
	m, err := resume(a, with(adapter.Config{Rank: 3, Scale: 4, NumLayers: -1}))
	if err != nil {
		t.Fatal(err)
	}
	want := a.Trainable()
	for _, p := range m.Trainable() {
		i := slices.IndexFunc(want, func(q nn.Param) bool { return q.Name == p.Name })
		if (i >= 0) != strings.HasPrefix(p.Name, "model.layers.1.self_attn.q_proj.") {
			t.Errorf("%s: in the file is %v", p.Name, i >= 0)
		}
		if i >= 0 && !slices.Equal(floats(t, dev, p), floats(t, dev, want[i])) {
			t.Errorf("%s was not loaded", p.Name)
		}
	}

	all := adaptedBy(t, dev, spec, adapter.Config{Rank: 3, Scale: 4, NumLayers: -1})
	head := adaptedBy(t, dev, spec, adapter.Config{Rank: 3, Scale: 4, NumLayers: -1, Keys: []string{"self_attn.q_proj", "lm_head"}})
	full := func(layers int, embeddings bool) func(*model.Model) error {
		return func(m *model.Model) error { return m.Unfreeze(layers, embeddings) }
	}
	whole := modeltest.Load(t, dev, spec)
	if err := whole.Unfreeze(-1, true); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file   *model.Model
		change func(*model.Model) error
		want   []string
	}{
		"another rank": {a, with(adapter.Config{Rank: 2, Scale: 4, NumLayers: 1}), []string{"1.self_attn.q_proj.lora_a (is "}},
		"fewer layers": {all, with(loraFit), []string{
			"resume_adapter_file: ", "14 tensors that this run does not train and would lose: model.layers.0.mlp.down_proj.lora_a, ", "\nGive <num_layers> 2 or more."}},
		"fewer keys": {adaptedBy(t, dev, spec, loraFit), with(query), []string{"12 tensors that", "model.layers.1.mlp.down_proj.lora_a, ",
			"\nGive <lora_parameters.keys> all of these: mlp.down_proj mlp.gate_proj mlp.up_proj self_attn.k_proj self_attn.o_proj self_attn.q_proj self_attn.v_proj."}},
		"fewer of both": {head, with(loraFit), []string{"4 tensors that", "lm_head.lora_b, model.layers.0.self_attn.q_proj.lora_a",
			"\nGive <num_layers> 2 or more.\nGive <lora_parameters.keys> all of these: lm_head mlp."}},
		"nothing in common": {a, with(adapter.Config{Rank: 3, Scale: 4, Keys: []string{"model.layers.0.mlp.up_proj"}, NumLayers: 1}),
			[]string{"2 tensors that", "Give <lora_parameters.keys> all of these: mlp.up_proj self_attn.q_proj."}},
		"no embeddings":       {whole, full(-1, false), []string{"3 tensors that", "lm_head.weight, model.embed_tokens.weight, model.norm.weight\nSet <train_embeddings>."}},
		"fewer layers, whole": {whole, full(1, true), []string{"9 tensors that", "\nGive <num_layers> 2 or more."}},
	} {
		_, err := resume(c.file, c.change)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		text := fault.Text(err, func(s fault.Setting) string { return "<" + string(s) + ">" })
		text = strings.ReplaceAll(text, "<resume_adapter_file>", "resume_adapter_file")
		for _, part := range c.want {
			if !strings.Contains(text, part) {
				t.Errorf("%s: %s\nwant %q", name, text, part)
			}
		}
	}
}

// TestResumeOtherKind: weights of another kind of fine-tuning would fit by half.
func TestResumeOtherKind(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	spec := modeltest.Spec{Type: "llama"}
	full := modeltest.Load(t, dev, spec)
	if err := full.Unfreeze(1, false); err != nil {
		t.Fatal(err)
	}
	models := map[string]*model.Model{"lora": adapted(t, dev, spec), "dora": adaptedBy(t, dev, spec, doraFit), "full": full}
	for is, m := range models {
		path := filepath.Join(t.TempDir(), is+".safetensors")
		if err := adapter.SaveWeights(m, path); err != nil {
			t.Fatal(err)
		}
		file, err := weights.OpenSafetensors(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		for trained, m := range models {
			err := adapter.Resume(m, file)
			if trained == is {
				if err != nil {
					t.Errorf("%s: %v", is, err)
				}
				continue
			}
			var mistake *fault.Mistake
			if !errors.As(err, &mistake) || mistake.Setting != "fine_tune_type" || mistake.Found != trained {
				t.Errorf("%s over %s: error %v, want a mistake with fine_tune_type %s", is, trained, err, trained)
				continue
			}
			text := fault.Text(err, func(s fault.Setting) string { return "<" + string(s) + ">" })
			for _, part := range []string{path, "expected " + is, "Give <fine_tune_type> " + is, "<resume_adapter_file>"} {
				if !strings.Contains(text, part) {
					t.Errorf("%s over %s: error %s, want one with %q", is, trained, text, part)
				}
			}
		}
	}
}

// TestSaveKeepsTheLastGood refuses to write an adapter that is no numbers.
func TestSaveKeepsTheLastGood(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	m := adapted(t, dev, modeltest.Spec{Type: "llama"})
	file := filepath.Join(t.TempDir(), "a.safetensors")
	if err := adapter.SaveWeights(m, file); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	modeltest.Shake(t, m, float32(math.NaN()))
	if err := adapter.SaveWeights(m, file); err == nil || !strings.Contains(err.Error(), "lora_a") {
		t.Errorf("NaN was written: %v", err)
	}
	if now, _ := os.ReadFile(file); !slices.Equal(now, good) {
		t.Error("the good file is gone")
	}
}

func floats(t *testing.T, dev compute.Device, p nn.Param) []float32 {
	t.Helper()
	v, err := tensor.ReadFloats(dev, p.Tensor)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
