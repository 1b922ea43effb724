package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/lentil-lm/lentil/demo/corpus"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tokenizer"
	"github.com/lentil-lm/lentil/weights"
)

// The base model's shape: Llama with grouped heads and tied embeddings.
const (
	vocabSize    = 2048
	hidden       = 256
	layers       = 6
	intermediate = 704 // a multiple of 64, the group size
	heads        = 8
	kvHeads      = 4
	headDim      = hidden / heads

	tokenizerDocuments = 30_000 // that the tokenizer is trained on
	// initialScale is the standard deviation of the first weights; matrices that
	// write to the residual stream start smaller, by sqrt(2·layers) (GPT-2).
	initialScale = 0.02
)

// writeBase writes an untrained base model: tokenizer, config and random weights.
func writeBase(args []string) error {
	flags := flag.NewFlagSet("gen base", flag.ContinueOnError)
	out := flags.String("out", "", "folder for the untrained model")
	seed := flags.Uint64("seed", 1, "seed of the weights")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *out == "" {
		return errors.New("base: --out is missing: name the folder to write to")
	}
	if err := os.MkdirAll(*out, 0o777); err != nil {
		return err
	}
	tok, err := trainTokenizer()
	if err != nil {
		return err
	}
	if err := tok.Save(*out); err != nil {
		return err
	}
	eos, _ := tok.EOS()
	pad, _ := tok.PAD()
	if err := writeConfig(*out, map[string]any{
		"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "hidden_act": "silu", "torch_dtype": "float32",
		"hidden_size": hidden, "num_hidden_layers": layers, "intermediate_size": intermediate,
		"num_attention_heads": heads, "num_key_value_heads": kvHeads, "head_dim": headDim,
		"rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 1024, "attention_bias": false, "mlp_bias": false,
		"vocab_size": tok.VocabSize(), "tie_word_embeddings": true, "eos_token_id": eos, "pad_token_id": pad, "bos_token_id": nil,
	}); err != nil {
		return err
	}
	tensors := randomWeights(tok.VocabSize(), *seed)
	n := 0
	for _, t := range tensors {
		n += len(t.Data) / 4
	}
	fmt.Printf("%s: %d tokens, %.2fM parameters\n", *out, tok.VocabSize(), float64(n)/1e6)
	return weights.WriteSafetensors(filepath.Join(*out, "model.safetensors"), tensors, map[string]string{"format": "mlx"})
}

// trainTokenizer trains on the corpus' text, without what the chat template adds.
func trainTokenizer() (*tokenizer.Tokenizer, error) {
	template, err := os.ReadFile(filepath.Join("demo", "chat_template.jinja"))
	if err != nil {
		return nil, fmt.Errorf("%w; run it from the repository's root", err)
	}
	texts := func(yield func(string) bool) {
		left := tokenizerDocuments
		for doc := range corpus.Documents(1) {
			for _, m := range doc.Messages {
				if !yield(m.Role + "\n" + m.Content + "\n") {
					return
				}
			}
			if left--; left == 0 {
				return
			}
		}
	}
	return tokenizer.Train(texts, tokenizer.TrainOptions{
		VocabSize: vocabSize, SpecialTokens: corpus.Special, Pattern: corpus.Pattern,
		EOS: "<|im_end|>", PAD: "<|endoftext|>", ChatTemplate: string(template),
	})
}

func randomWeights(vocab int, seed uint64) []weights.Tensor {
	r := rand.New(rand.NewPCG(seed, 0))
	var out []weights.Tensor
	add := func(name string, scale float64, shape ...int) {
		n := 1
		for _, d := range shape {
			n *= d
		}
		v := make([]float32, n)
		for i := range v {
			v[i] = 1 // norms
			if scale > 0 {
				v[i] = float32(r.NormFloat64() * scale)
			}
		}
		data := make([]byte, 4*n)
		quant.PutFloats(data, v, quant.F32)
		out = append(out, weights.Tensor{Name: name, DType: quant.F32, Shape: shape, Data: data})
	}
	residual := initialScale / 3.46 // sqrt(2·6)
	add("model.embed_tokens.weight", initialScale, vocab, hidden)
	for i := range layers {
		at := fmt.Sprintf("model.layers.%d.", i)
		add(at+"self_attn.q_proj.weight", 2*initialScale, heads*headDim, hidden)
		add(at+"self_attn.k_proj.weight", 2*initialScale, kvHeads*headDim, hidden)
		add(at+"self_attn.v_proj.weight", 2*initialScale, kvHeads*headDim, hidden)
		add(at+"self_attn.o_proj.weight", residual, hidden, heads*headDim)
		add(at+"mlp.gate_proj.weight", 2*initialScale, intermediate, hidden)
		add(at+"mlp.up_proj.weight", 2*initialScale, intermediate, hidden)
		add(at+"mlp.down_proj.weight", residual, hidden, intermediate)
		add(at+"input_layernorm.weight", 0, hidden)
		add(at+"post_attention_layernorm.weight", 0, hidden)
	}
	add("model.norm.weight", 0, hidden)
	return out
}

// pack quantizes the trained model for the repository.
func pack(args []string) error {
	flags := flag.NewFlagSet("gen pack", flag.ContinueOnError)
	from := flags.String("model", "", "folder of the trained model")
	out := flags.String("out", filepath.Join("demo", "model"), "folder for the quantized model")
	bits := flags.Int("bits", 8, "bits per weight")
	group := flags.Int("group-size", 64, "weights that share a scale")
	if err := flags.Parse(args); err != nil {
		return err
	}
	src, err := weights.Open(*from)
	if err != nil {
		return err
	}
	defer src.Close()
	tok, err := tokenizer.Load(*from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(*out, 0o777); err != nil {
		return err
	}
	if err := tok.Save(*out); err != nil {
		return err
	}
	var tensors []weights.Tensor
	for _, name := range src.Names() {
		list, err := packTensor(src, name, *bits, *group)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		tensors = append(tensors, list...)
	}
	var config map[string]any
	if err := json.Unmarshal(src.Config(), &config); err != nil {
		return err
	}
	q := map[string]any{"group_size": *group, "bits": *bits, "mode": "affine"}
	config["quantization"], config["quantization_config"], config["torch_dtype"] = q, q, "float16"
	if err := writeConfig(*out, config); err != nil {
		return err
	}
	return weights.WriteSafetensors(filepath.Join(*out, "model.safetensors"), tensors, map[string]string{"format": "mlx"})
}

// packTensor quantizes a matrix and rounds anything else to F16.
func packTensor(src weights.Source, name string, bits, group int) ([]weights.Tensor, error) {
	t, _ := src.Tensor(name)
	module, isWeight := strings.CutSuffix(name, ".weight")
	if len(t.Shape) != 2 || !isWeight {
		v := make([]float32, len(t.Data)/t.DType.Size())
		quant.Floats(v, t.Data, t.DType)
		data := make([]byte, 2*len(v))
		quant.PutFloats(data, v, quant.F16)
		return []weights.Tensor{{Name: name, DType: quant.F16, Shape: t.Shape, Data: data}}, nil
	}
	dense, err := src.Matrix(module)
	if err != nil {
		return nil, err
	}
	m, err := quant.QuantizeAffine(dense.Floats(), dense.Rows, dense.Cols, bits, group, quant.F16, quant.RuleMetal)
	if err != nil {
		return nil, err
	}
	groups := []int{m.Rows, m.Cols / group}
	return []weights.Tensor{
		{Name: name, DType: quant.U32, Shape: []int{m.Rows, m.Format.RowBytes(m.Cols) / 4}, Data: m.Data},
		{Name: module + ".scales", DType: quant.F16, Shape: groups, Data: m.Scales},
		{Name: module + ".biases", DType: quant.F16, Shape: groups, Data: m.Biases},
	}, nil
}

func writeConfig(dir string, config map[string]any) error {
	data, err := json.MarshalIndent(config, "", "    ")
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, "config.json"), data)
}
