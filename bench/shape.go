package bench

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/weights"
)

// A Shape is the architecture of a known model, for measuring with random weights: the speed does not
// depend on what the weights are.
type Shape struct {
	name   string
	config map[string]any // of its config.json
}

// shapes are those of config.json in the models' repositories.
var shapes = []Shape{
	{"smollm2-135m", map[string]any{
		"model_type": "llama", "hidden_size": 576, "num_hidden_layers": 30, "intermediate_size": 1536, "num_attention_heads": 9,
		"num_key_value_heads": 3, "rms_norm_eps": 1e-5, "vocab_size": 49152, "rope_theta": 1e5, "max_position_embeddings": 8192, "tie_word_embeddings": true,
	}},
	{"qwen2.5-0.5b", map[string]any{
		"model_type": "qwen2", "hidden_size": 896, "num_hidden_layers": 24, "intermediate_size": 4864, "num_attention_heads": 14,
		"num_key_value_heads": 2, "rms_norm_eps": 1e-6, "vocab_size": 151936, "rope_theta": 1e6, "max_position_embeddings": 32768, "tie_word_embeddings": true,
	}},
	{"llama-3.2-1b", map[string]any{
		"model_type": "llama", "hidden_size": 2048, "num_hidden_layers": 16, "intermediate_size": 8192, "num_attention_heads": 32,
		"num_key_value_heads": 8, "head_dim": 64, "rms_norm_eps": 1e-5, "vocab_size": 128256, "rope_theta": 5e5, "max_position_embeddings": 131072,
		"tie_word_embeddings": true,
		"rope_scaling":        map[string]any{"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
	}},
	{"ministral-8b", map[string]any{
		"model_type": "mistral", "hidden_size": 4096, "num_hidden_layers": 36, "intermediate_size": 12288, "num_attention_heads": 32,
		"num_key_value_heads": 8, "head_dim": 128, "rms_norm_eps": 1e-5, "vocab_size": 131072, "rope_theta": 1e8, "max_position_embeddings": 32768,
		"tie_word_embeddings": false,
	}},
	{"qwen3-30b-a3b", qwen3Experts(48)},
	{"qwen3-30b-a3b-8-layers", qwen3Experts(8)}, // as many as 8 GB of memory hold
}

// qwen3Experts is the mixture of experts Qwen3-30B-A3B, or its first layers.
func qwen3Experts(layers int) map[string]any {
	return map[string]any{
		"model_type": "qwen3_moe", "hidden_size": 2048, "num_hidden_layers": layers, "intermediate_size": 6144, "num_attention_heads": 32,
		"num_key_value_heads": 4, "head_dim": 128, "rms_norm_eps": 1e-6, "vocab_size": 151936, "rope_theta": 1e6, "max_position_embeddings": 40960,
		"tie_word_embeddings": false, "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768, "norm_topk_prob": true,
		"decoder_sparse_step": 1, "mlp_only_layers": []int{},
	}
}

// ShapeNames lists the known shapes.
func ShapeNames() []string {
	var names []string
	for _, s := range shapes {
		names = append(names, s.name)
	}
	return names
}

// FindShape gives the shape of this name.
func FindShape(name string) (Shape, error) {
	i := slices.IndexFunc(shapes, func(s Shape) bool { return s.name == name })
	if i < 0 {
		return Shape{}, fault.Value("shape", name, "one of "+strings.Join(ShapeNames(), ", "))
	}
	return shapes[i], nil
}

// Write makes a model folder of this shape with random weights of so many bits.
func (s Shape) Write(dir string, bits, group int) error {
	text, err := s.configText(bits, group)
	if err != nil {
		return err
	}
	c, err := model.ParseConfig(text, "config.json")
	if err != nil {
		return err
	}
	w := randomWeights{bits: bits, group: group, random: rand.New(rand.NewPCG(0, 0))}
	w.all(c)
	if w.err != nil {
		return w.err
	}
	set, err := atomicfile.Begin(dir)
	if err != nil {
		return err
	}
	defer set.Discard()
	if err := weights.WriteModel(set.Dir(), w.entries, weights.ModelOptions{Parameters: w.count}); err != nil {
		return err
	}
	if err := set.Write("config.json", text); err != nil {
		return err
	}
	return set.Commit()
}

func (s Shape) configText(bits, group int) ([]byte, error) {
	config := map[string]any{"quantization": map[string]any{"bits": bits, "group_size": group, "mode": "affine"}, "eos_token_id": 0, "hidden_act": "silu"}
	for key, value := range s.config {
		config[key] = value
	}
	text, err := json.MarshalIndent(config, "", "    ")
	return append(text, '\n'), err
}

// IsIn tells whether a folder holds a model of this shape and format already. A folder with anything else
// is an error.
func (s Shape) IsIn(dir string, bits, group int) (bool, error) {
	if _, err := atomicfile.Settle(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	have, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if errors.Is(err, os.ErrNotExist) {
		if atomicfile.Vacant("save_path", dir) != nil {
			return false, fault.Given("save_path", dir, "it holds other files").Try("Choose another folder.")
		}
		return false, nil
	}
	want, wantErr := s.configText(bits, group)
	if err := errors.Join(err, wantErr); err != nil {
		return false, err
	}
	if !bytes.Equal(have, want) {
		return false, fault.Given("save_path", dir, "it holds another model").Try("Choose another folder.")
	}
	return true, nil
}

// randomWeights collects tensors that are made when they are written. The packed bits are drawn as they
// are: quantizing random floats would take a hundred times as long and give the same distribution.
type randomWeights struct {
	bits, group int
	random      *rand.Rand
	entries     []weights.Entry
	count       int64 // weights
	err         error
}

// all adds the tensors of a model.
func (w *randomWeights) all(c *model.Config) {
	for _, x := range c.Tensors() {
		module, isWeight := strings.CutSuffix(x.Name, ".weight")
		switch {
		case len(x.Shape) > 1:
			w.matrix(module, x.Shape...)
		case isWeight: // a norm
			w.constant(x.Name, x.Shape[0], 1)
		default: // a bias
			w.constant(x.Name, x.Shape[0], 0)
		}
	}
}

func (w *randomWeights) add(name string, dtype quant.DType, shape []int, fill func(data []byte)) {
	w.entries = append(w.entries, weights.Entry{Name: name, DType: dtype, Shape: shape, Bytes: func() ([]byte, error) {
		n := dtype.Size()
		for _, d := range shape {
			n *= d
		}
		data := make([]byte, n)
		fill(data)
		return data, nil
	}})
}

// constant is a vector of F16 values.
func (w *randomWeights) constant(name string, n int, value float32) {
	w.count += int64(n)
	w.add(name, quant.F16, []int{n}, func(data []byte) { fillHalf(data, value) })
}

// matrix is an affine matrix with scales in F16, all equal, such that weights have a mean near zero and a
// spread that keeps activations at their size. The bias is a multiple of the scale, as GGUF's Q4_0 has it:
// that can hold the same weights exactly.
func (w *randomWeights) matrix(name string, shape ...int) {
	last := len(shape) - 1
	cols := shape[last]
	f := quant.Format{Kind: quant.Affine, DType: quant.F16, Bits: w.bits, Group: w.group}
	if err := f.Check(); err != nil {
		w.err = fault.At("q_bits", "%w", err)
		return
	}
	if n := f.RowMultiple(); cols%n != 0 {
		w.err = fault.Given("q_group_size", w.group, "%s has rows of %d weights, which are no multiple", name, cols)
		return
	}
	wide := func(n int) []int { return append(slices.Clone(shape[:last]), n) }
	count := int64(1)
	for _, n := range shape {
		count *= int64(n)
	}
	w.count += count
	levels := float64(int(1)<<w.bits - 1)
	// Uniform levels have a spread of levels/sqrt(12); a matrix keeps the size of its input at a spread of
	// 1/sqrt(cols), and half of that leaves room for 36 blocks to add up.
	scale := quant.F16ToF32(quant.F32ToF16(float32(math.Sqrt(12/float64(cols)) / levels / 2)))
	w.add(name+".weight", quant.U32, wide(f.RowBytes(cols)/4), func(data []byte) {
		for i := 0; i < len(data)&^7; i += 8 {
			binary.LittleEndian.PutUint64(data[i:], w.random.Uint64())
		}
		for i := len(data) &^ 7; i < len(data); i++ {
			data[i] = byte(w.random.Uint32())
		}
	})
	groups := wide(cols / w.group)
	w.add(name+".scales", quant.F16, groups, func(data []byte) { fillHalf(data, scale) })
	w.add(name+".biases", quant.F16, groups, func(data []byte) { fillHalf(data, -scale*float32(int(1)<<(w.bits-1))) })
}

func fillHalf(data []byte, value float32) {
	half := quant.F32ToF16(value)
	for i := 0; i < len(data); i += 2 {
		binary.LittleEndian.PutUint16(data[i:], half)
	}
}
