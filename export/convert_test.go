package export_test

import (
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/export"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tokenizer"
	"github.com/lentil-lm/lentil/weights"
)

// smallFloatTolerance is for weights with one bit of mantissa: errors of up to a
// quarter of each.
const smallFloatTolerance = 0.8

func convert(t *testing.T, from string, o export.ConvertOptions) (string, export.ConvertReport) {
	t.Helper()
	src, err := weights.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	o.SavePath = filepath.Join(t.TempDir(), "new", "converted")
	report, err := export.Convert(src, trained(t), o)
	if err != nil {
		t.Fatalf("%+v: %v", o, err)
	}
	return o.SavePath, report
}

func TestConvert(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	wide := map[string]any{"vocab_size": ggufVocab, "hidden_size": 64, "intermediate_size": 128}
	for _, test := range []struct {
		name      string
		spec      modeltest.Spec
		o         export.ConvertOptions
		format    string // of model.layers.0.mlp.up_proj
		tolerance float64
	}{
		{"copied", modeltest.Spec{Type: "qwen2", Config: wide}, export.ConvertOptions{}, "f32", 0},
		{"bfloat16", modeltest.Spec{Type: "qwen2", Config: wide}, export.ConvertOptions{DType: quant.BF16}, "bf16", roundedTolerance},
		{"4 bits", modeltest.Spec{Type: "llama", Config: wide}, export.ConvertOptions{Quantize: true}, "4-bit g64", 0.6},
		{"8 bits in 32", modeltest.Spec{Type: "qwen3", Config: wide}, export.ConvertOptions{Quantize: true, Bits: 8, Group: 32}, "8-bit g32", roundedTolerance},
		{"dense again", modeltest.Spec{Type: "llama", Config: wide, Bits: 4}, export.ConvertOptions{Dequantize: true}, "f32", exactTolerance},
		{"stays quantized", modeltest.Spec{Type: "llama", Config: wide, Bits: 3}, export.ConvertOptions{}, "3-bit g32", 0},
		{"scales recast", modeltest.Spec{Type: "llama", Config: wide, Bits: 6}, export.ConvertOptions{DType: quant.F16}, "6-bit g32", roundedTolerance},
		{"mxfp4", modeltest.Spec{Type: "llama", Config: wide}, export.ConvertOptions{Quantize: true, Mode: "mxfp4"}, "mxfp4", smallFloatTolerance},
		{"nvfp4", modeltest.Spec{Type: "qwen2", Config: wide}, export.ConvertOptions{Quantize: true, Mode: "nvfp4", Rule: quant.RuleCPU}, "nvfp4", smallFloatTolerance},
		{"mxfp8", modeltest.Spec{Type: "qwen3", Config: wide}, export.ConvertOptions{Quantize: true, Mode: "mxfp8"}, "mxfp8", 0.2},
		{"other bits", modeltest.Spec{Type: "mistral", Config: wide, Bits: 8}, export.ConvertOptions{Quantize: true, Bits: 6}, "6-bit g64", 0.2},
	} {
		from := modeltest.Write(t, test.spec)
		want := logits(t, modeltest.Open(t, dev, from))
		path, report := convert(t, from, test.o)
		m := modeltest.Open(t, dev, path)
		if d := distance(logits(t, m), want); d > test.tolerance {
			t.Errorf("%s: logits differ by %.4f, expected at most %g", test.name, d, test.tolerance)
		}
		w, _ := m.Matrix("model.layers.0.mlp.up_proj")
		if got := w.Format.String(); got != test.format {
			t.Errorf("%s: written as %s, want %s", test.name, got, test.format)
		}
		if info, err := os.Stat(filepath.Join(path, "model.safetensors")); err != nil || math.Abs(float64(info.Size()-report.Bytes)) > 16<<10 {
			t.Errorf("%s: %d bytes reported, the file has %v (%v)", test.name, report.Bytes, info.Size(), err)
		}
		for _, name := range []string{"tokenizer.json", "README.md", "model.safetensors.index.json"} {
			if _, err := os.Stat(filepath.Join(path, name)); err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
		}
	}
}

// TestFromSmallFloats takes folders in mxfp4, nvfp4 and mxfp8 as bases: dense
// they give the very same logits, and so do copies, in other types of the rest
// too; as GGUF they lose what the type loses.
func TestFromSmallFloats(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	from := modeltest.Write(t, exportable()[0])
	for _, mode := range []string{"mxfp4", "nvfp4", "mxfp8"} {
		base, report := convert(t, from, export.ConvertOptions{Quantize: true, Mode: mode, DType: quant.BF16})
		if bpw := report.BitsPerWeight; bpw > 9 {
			t.Errorf("%s: %.3f bits per weight", mode, bpw)
		}
		want := logits(t, modeltest.Open(t, dev, base))
		for name, o := range map[string]export.ConvertOptions{
			"copy": {}, "dense": {Dequantize: true}, "float32": {Dequantize: true, DType: quant.F32}, "copy in float32": {DType: quant.F32},
			"8 bits": {Quantize: true, Bits: 8, Group: 32},
		} {
			tolerance := 0.0
			if name == "8 bits" {
				tolerance = roundedTolerance
			}
			path, _ := convert(t, base, o)
			if d := distance(logits(t, modeltest.Open(t, dev, path)), want); d > tolerance {
				t.Errorf("%s, %s: logits differ by %g, expected at most %g", mode, name, d, tolerance)
			}
		}
		for kind, tolerance := range map[string]float64{"BF16": exactTolerance, "Q8_0": roundedTolerance} {
			gguf, _ := exportGGUF(t, base, kind)
			if d := distance(logits(t, modeltest.Open(t, dev, gguf)), want); d > tolerance {
				t.Errorf("%s as %s: logits differ by %g, expected at most %g", mode, kind, d, tolerance)
			}
		}
	}
}

// TestConvertRecipe: of 8 layers 0, 3, 6 and 7 matter more, and the head.
func TestConvertRecipe(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	from := modeltest.Write(t, modeltest.Spec{Type: "mistral", Config: map[string]any{
		"vocab_size": ggufVocab, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 8}})
	path, report := convert(t, from, export.ConvertOptions{Quantize: true, Recipe: "mixed_3_6"})
	m := modeltest.Open(t, dev, path)
	for module, want := range map[string]string{
		"lm_head": "6-bit g64", "model.embed_tokens": "3-bit g64", "model.layers.0.mlp.down_proj": "6-bit g64",
		"model.layers.1.mlp.down_proj": "3-bit g64", "model.layers.3.self_attn.v_proj": "6-bit g64", "model.layers.3.self_attn.q_proj": "3-bit g64",
		"model.layers.6.mlp.down_proj": "6-bit g64", "model.layers.7.self_attn.v_proj": "6-bit g64", "model.layers.5.self_attn.v_proj": "3-bit g64",
	} {
		if w, ok := m.Matrix(module); !ok || w.Format.String() != want {
			t.Errorf("%s is %v, want %s", module, w.Format, want)
		}
	}
	// 3 or 6 bits and 1 for float32 scales and biases.
	if report.BitsPerWeight < 4 || report.BitsPerWeight > 7 {
		t.Errorf("%.3f bits per weight", report.BitsPerWeight)
	}
}

// TestConvertFromGGUF brings an exported model back, with the scaling of Llama 3
// under the name that others know.
func TestConvertFromGGUF(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	config := maps.Clone(exportable()[0].Config)
	config["rope_theta"], config["head_dim"] = 500000.0, 64 // waves on both sides of 8192 tokens
	config["rope_scaling"] = map[string]any{"rope_type": "llama3", "factor": 32.0, "original_max_position_embeddings": 8192}
	from := modeltest.Write(t, modeltest.Spec{Type: "llama", Config: config})
	want := logits(t, modeltest.Open(t, dev, from))
	gguf, _ := exportGGUF(t, from, "F32")
	path, _ := convert(t, gguf, export.ConvertOptions{})
	if d := distance(logits(t, modeltest.Open(t, dev, path)), want); d > exactTolerance {
		t.Errorf("logits differ by %g", d)
	}
	if _, text := readConfig(t, path); !strings.Contains(text, `"llama3"`) || strings.Contains(text, "gguf_factors") {
		t.Errorf("rope_scaling in %s", text)
	}
}

// TestConvertFiles: what lies beside the weights comes along as far as it is of use.
func TestConvertFiles(t *testing.T) {
	t.Parallel()
	from := modeltest.Write(t, modeltest.Spec{Type: "llama", Config: map[string]any{"vocab_size": ggufVocab, "vision_config": map[string]any{}}})
	for name, text := range map[string]string{"generation_config.json": `{"eos_token_id": [7, 9]}`, "modeling.py": "pass", "notes.txt": "mine"} {
		if err := os.WriteFile(filepath.Join(from, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	path, _ := convert(t, from, export.ConvertOptions{BaseModel: "org/base"})
	for name, want := range map[string]string{"generation_config.json": "[7, 9]", "modeling.py": "pass", "README.md": "base_model: org/base", "config.json": `"eos_token_id": [`} {
		if text, err := os.ReadFile(filepath.Join(path, name)); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %q (%v), want %q", name, text, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(path, "notes.txt")); err == nil {
		t.Error("notes.txt was copied")
	}
	if _, text := readConfig(t, path); strings.Contains(text, "vision_config") {
		t.Error("vision_config is still there")
	}
}

func TestConvertErrors(t *testing.T) {
	t.Parallel()
	src, err := weights.Open(modeltest.Write(t, modeltest.Spec{Type: "llama", Config: map[string]any{"vocab_size": ggufVocab}}))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	there, gone := t.TempDir(), filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(filepath.Join(there, "thesis.docx"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		o    export.ConvertOptions
		want string
	}{
		{export.ConvertOptions{SavePath: there}, "is there already"},
		{export.ConvertOptions{SavePath: gone, Quantize: true, Recipe: "mixed_1_2"}, "mixed_3_6"},
		{export.ConvertOptions{SavePath: gone, Quantize: true, Bits: 7}, "7 bits"},
		{export.ConvertOptions{SavePath: gone, Quantize: true, Group: 48}, "group size 48"},
	} {
		if _, err := export.Convert(src, trained(t), test.o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", test.o, err, test.want)
		}
	}
	if left, _ := os.ReadDir(filepath.Dir(gone)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestTooLarge: weights that float16 has no number for are refused wherever they are
// narrowed, not made infinite.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	spec := modeltest.Spec{Type: "llama", DType: quant.BF16, Config: map[string]any{"vocab_size": ggufVocab}}
	for _, name := range []string{"model.norm.weight", "model.layers.1.mlp.up_proj.weight"} {
		config, tensors := modeltest.Contents(t, spec)
		for _, x := range tensors {
			if x.Name == name {
				quant.PutFloats(x.Data[6:], []float32{-70000}, quant.BF16)
			}
		}
		dir := modeltest.WriteFolder(t, config, tensors)
		src, err := weights.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		for _, o := range []export.ConvertOptions{{DType: quant.F16}, {DType: quant.F16, Quantize: true, Group: 32}} {
			o.SavePath = filepath.Join(t.TempDir(), "x")
			if _, err := export.Convert(src, trained(t), o); err == nil || !strings.Contains(err.Error(), "too large for float16") || !strings.Contains(err.Error(), strings.TrimSuffix(name, ".weight")) {
				t.Errorf("%s, %+v: %v", name, o, err)
			}
		}
		typ, _ := export.ParseGGUFType("f16")
		_, err = export.GGUF(src, trained(t), export.GGUFOptions{Path: filepath.Join(t.TempDir(), "x.gguf"), Type: typ})
		if matrix := strings.Contains(name, "proj"); matrix != (err != nil) || matrix && !strings.Contains(err.Error(), "too large for float16") {
			t.Errorf("%s to F16: %v", name, err)
		}
	}
}

// TestModelfile: a template is written if it gives the same text as the
// tokenizer's own, and a system message that this writes by itself.
func TestModelfile(t *testing.T) {
	t.Parallel()
	const chatML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
	const generation = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
	for _, test := range []struct{ name, template, want, not string }{
		{"ChatML", chatML + generation, "\nTEMPLATE \"\"\"{{- range .Messages }}<|im_start|>", "\nSYSTEM"},
		{"with a system message", "{% if messages[0].role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}" + chatML + generation,
			"\nSYSTEM \"\"\"Be kind.\"\"\"\n", "chat template is in"},
		{"unknown", strings.Replace(chatML, "m.role", "loop.index", 1), "# The chat template is in the GGUF file", "\nTEMPLATE"},
		{"none", "", "# A base model", "\nTEMPLATE"},
	} {
		tok, err := tokenizer.Train(slices.Values([]string{"a b"}), tokenizer.TrainOptions{VocabSize: 260, ChatTemplate: test.template})
		if err != nil {
			t.Fatal(err)
		}
		path, err := export.WriteModelfile(filepath.Join(t.TempDir(), "model.gguf"), t.TempDir(), nil, tok)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if s := string(text); !strings.HasPrefix(s, "FROM ./model.gguf\n") || !strings.Contains(s, test.want) || strings.Contains(s, test.not) {
			t.Errorf("%s:\n%s", test.name, s)
		}
	}
}
