// Package modeltest makes tiny random models for tests: a folder in a few
// milliseconds, a forward pass in less.
package modeltest

import (
	"encoding/json"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tensor"
	"github.com/lentil-lm/lentil/weights"
)

// Sizes of all these models, which configs may override.
const (
	Vocab   = 48
	Hidden  = 32
	Inner   = 64
	Layers  = 2
	Heads   = 4
	KVHeads = 2
)

// Spec says which model to make. Config is laid over the architecture's; a nil
// value removes a key.
type Spec struct {
	Type   string
	Config map[string]any
	DType  quant.DType // of dense weights, and of scales; 0 is F32
	Bits   int         // of all matrices, in groups of 32; 0 is dense
	Seed   uint64
}

// Architectures has one model of each model_type, with the features that set it
// apart turned on.
func Architectures() []Spec {
	return []Spec{
		{Type: "llama", Config: map[string]any{
			"tie_word_embeddings": false, "attention_bias": true, "mlp_bias": true,
			"rope_scaling": map[string]any{"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 16},
		}},
		{Type: "mistral", Config: map[string]any{
			"layer_types": []string{"full_attention", "sliding_attention"}, "sliding_window": 3, "rope_traditional": true,
		}},
		{Type: "qwen2"},
		{Type: "qwen3", Config: map[string]any{"head_dim": 16}},
		{Type: "mixtral", Config: map[string]any{"num_local_experts": 4, "num_experts_per_tok": 2}},
		{Type: "qwen3_moe", Config: map[string]any{
			"head_dim": 16, "num_experts": 5, "num_experts_per_tok": 3, "moe_intermediate_size": 32, "norm_topk_prob": true, "tie_word_embeddings": false,
		}},
		{Type: "smollm3", Config: map[string]any{"no_rope_layers": []int{1, 0}}},
	}
}

// Mixtures are the architectures with experts.
func Mixtures() []Spec {
	return slices.DeleteFunc(Architectures(), func(s Spec) bool { return !HasExperts(s) })
}

// HasExperts tells whether the model has a mixture of experts.
func HasExperts(s Spec) bool {
	text, err := json.Marshal(s.config())
	if err != nil {
		return false
	}
	c, err := model.ParseConfig(text, "config.json")
	if err != nil {
		return false
	}
	a, err := c.Architecture()
	return err == nil && a.Experts.Count > 0
}

// Smooth makes every token use all experts, since where the choice changes there
// is no derivative.
func (s Spec) Smooth() Spec {
	if HasExperts(s) {
		s.Config = maps.Clone(s.Config)
		s.Config["num_experts_per_tok"] = max(s.count("num_experts"), s.count("num_local_experts"))
	}
	return s
}

func (s Spec) count(key string) int {
	n, _ := s.Config[key].(int)
	return n
}

// Contents returns the config and the tensors of a model, for tests that spoil them.
func Contents(t testing.TB, s Spec) (config map[string]any, tensors []weights.Tensor) {
	t.Helper()
	if s.DType == 0 {
		s.DType = quant.F32
	}
	config = s.config()
	c, err := model.ParseConfig(marshal(t, config), "config.json")
	if err != nil {
		t.Fatal(err)
	}
	m := maker{Spec: s, t: t, random: rand.New(rand.NewPCG(s.Seed, 1))}
	for _, x := range c.Tensors() {
		module, isWeight := strings.CutSuffix(x.Name, ".weight")
		switch {
		case len(x.Shape) > 1:
			m.matrix(module, x.Shape...)
		case isWeight: // a norm
			m.vector(x.Name, x.Shape[0], 1)
		default: // a bias
			m.vector(x.Name, x.Shape[0], 0)
		}
	}
	return config, m.out
}

// config is the contents of config.json.
func (s Spec) config() map[string]any {
	config := map[string]any{
		"model_type": s.Type, "vocab_size": Vocab, "hidden_size": Hidden, "intermediate_size": Inner, "num_hidden_layers": Layers,
		"num_attention_heads": Heads, "num_key_value_heads": KVHeads, "rms_norm_eps": 1e-5, "max_position_embeddings": 256,
		"eos_token_id": 2, "rope_theta": 10000.0,
	}
	maps.Copy(config, s.Config)
	maps.DeleteFunc(config, func(_ string, v any) bool { return v == nil })
	if s.Bits > 0 {
		config["quantization"] = map[string]any{"group_size": 32, "bits": s.Bits}
	}
	return config
}

// maker collects random tensors.
type maker struct {
	Spec
	t      testing.TB
	random *rand.Rand
	out    []weights.Tensor
}

func (m *maker) values(n int, mean, spread float32) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = mean + spread*float32(m.random.NormFloat64())
	}
	return v
}

func (m *maker) dense(name string, values []float32, shape ...int) {
	data := make([]byte, len(values)*m.DType.Size())
	quant.PutFloats(data, values, m.DType)
	m.out = append(m.out, weights.Tensor{Name: name, DType: m.DType, Shape: shape, Data: data})
}

func (m *maker) vector(name string, n int, mean float32) {
	m.dense(name, m.values(n, mean, 0.1), n)
}

// matrix makes one of shape [rows, columns], or a stack [experts, rows, columns].
func (m *maker) matrix(name string, shape ...int) {
	m.t.Helper()
	last := len(shape) - 1
	rows, cols := 1, shape[last]
	for _, n := range shape[:last] {
		rows *= n
	}
	values := m.values(rows*cols, 0, 0.3)
	if m.Bits == 0 {
		m.dense(name+".weight", values, shape...)
		return
	}
	const group = 32
	q, err := quant.QuantizeAffine(values, rows, cols, m.Bits, group, m.DType, quant.RuleMetal)
	if err != nil {
		m.t.Fatal(err)
	}
	wide := func(n int) []int { return append(slices.Clone(shape[:last]), n) }
	m.out = append(m.out,
		weights.Tensor{Name: name + ".weight", DType: quant.U32, Shape: wide(cols * m.Bits / 32), Data: q.Data},
		weights.Tensor{Name: name + ".scales", DType: m.DType, Shape: wide(cols / group), Data: q.Scales},
		weights.Tensor{Name: name + ".biases", DType: m.DType, Shape: wide(cols / group), Data: q.Biases})
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// WriteFolder writes a model folder of these contents.
func WriteFolder(t testing.TB, config map[string]any, tensors []weights.Tensor) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), marshal(t, config), 0o644); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(tensors, func(a, b weights.Tensor) int { return strings.Compare(a.Name, b.Name) })
	if err := weights.WriteSafetensors(filepath.Join(dir, "model.safetensors"), tensors, nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Write makes a model folder.
func Write(t testing.TB, s Spec) string {
	t.Helper()
	config, tensors := Contents(t, s)
	return WriteFolder(t, config, tensors)
}

// Open loads the model of a folder.
func Open(t testing.TB, dev compute.Device, dir string) *model.Model {
	t.Helper()
	src, err := weights.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	m, err := model.Load(dev, src)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Load makes a model and loads it.
func Load(t testing.TB, dev compute.Device, s Spec) *model.Model {
	t.Helper()
	return Open(t, dev, Write(t, s))
}

// Shake gives every trainable parameter a random push, so that no adapter is zero.
func Shake(t testing.TB, m *model.Model, size float32) {
	t.Helper()
	random := rand.New(rand.NewPCG(3, 4))
	for _, p := range m.Trainable() {
		values := make([]float32, p.Shape().Elems())
		if err := m.Device().Read(p.Buffer(), compute.FloatBytes(values)); err != nil {
			t.Fatal(err)
		}
		for i := range values {
			values[i] += size * float32(random.NormFloat64())
		}
		if err := m.Device().Write(p.Buffer(), compute.FloatBytes(values)); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.RefreshAdapters(); err != nil {
		t.Fatal(err)
	}
}

// Alike compares values relative to the largest.
func Alike(t testing.TB, what string, got, want []float32, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d values, want %d", what, len(got), len(want))
		return
	}
	largest := 1e-3
	for _, v := range want {
		largest = max(largest, math.Abs(float64(v)))
	}
	for i := range want {
		if d := math.Abs(float64(got[i] - want[i])); !(d <= tolerance*largest) {
			t.Errorf("%s: value %d is %g, want %g", what, i, got[i], want[i])
			return
		}
	}
}

// Logits are the logits of the last token of a batch without a cache.
func Logits(t testing.TB, m *model.Model, b model.Batch) []float32 {
	t.Helper()
	tape := tensor.NewTape(m.Device())
	tape.Exact = true
	var out []float32
	tape.Scope(func() *tensor.Tensor {
		x, pass := m.Begin(tape, b, nil)
		x = m.Layers(tape, x, pass, 0, len(m.Blocks), false)
		last := tape.GatherRows(x, tape.Ints([]int32{int32(len(b.Tokens) - 1)}))
		out = tape.Read(m.Logits(tape, m.Final(tape, last)))
		return nil
	})
	if err := tape.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// Sequence is n tokens without an obvious pattern.
func Sequence(n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32((i*i*7 + i*3 + 5) % Vocab)
	}
	return out
}
