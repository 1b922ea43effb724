package weights

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/quant"
)

// write fills a folder: text files as given, and safetensors files by name.
func write(t *testing.T, dir string, text map[string]string, files map[string][]Tensor) {
	t.Helper()
	for name, content := range text {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, tensors := range files {
		if err := WriteSafetensors(filepath.Join(dir, name), tensors, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// dense makes a BF16 tensor [rows, cols] of zeros.
func dense(name string, rows, cols int) Tensor {
	return Tensor{name, quant.BF16, []int{rows, cols}, make([]byte, 2*rows*cols)}
}

// packed quantizes a ramp and returns the three tensors and the matrix.
func packed(t *testing.T, module string, rows, cols, bits, group int) ([]Tensor, *quant.Matrix) {
	t.Helper()
	w := make([]float32, rows*cols)
	for i := range w {
		w[i] = float32(i%37) - 18
	}
	m, err := quant.QuantizeAffine(w, rows, cols, bits, group, quant.F16, quant.RuleMetal)
	if err != nil {
		t.Fatal(err)
	}
	return []Tensor{
		{module + ".weight", quant.U32, []int{rows, cols * bits / 32}, m.Data},
		{module + ".scales", quant.F16, []int{rows, cols / group}, m.Scales},
		{module + ".biases", quant.F16, []int{rows, cols / group}, m.Biases},
	}, m
}

func TestFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	four, wantFour := packed(t, "a.four", 3, 128, 4, 64)
	six, wantSix := packed(t, "a.six", 2, 64, 6, 32)
	const config = `{"model_type":"llama","quantization":{"bits":4,"group_size":64,"mode":"affine",
		"a.six":{"bits":6,"group_size":32},"a.plain":false,"a.true":true}}`
	yes, wantTrue := packed(t, "a.true", 1, 64, 4, 64)
	write(t, dir, map[string]string{"config.json": config, "other.safetensors": "not read"}, map[string][]Tensor{
		"model-00001-of-00002.safetensors": append(four, dense("a.plain.weight", 2, 5)),
		"model-00002-of-00002.safetensors": append(append(six, yes...), dense("norm.weight", 1, 7)),
	})
	src, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if string(src.Config()) != config || src.Path() != dir || len(src.Names()) != 11 || !slices.IsSorted(src.Names()) {
		t.Errorf("config %s, path %s, names %v", src.Config(), src.Path(), src.Names())
	}
	for module, want := range map[string]*quant.Matrix{
		"a.four": wantFour, "a.six": wantSix, "a.true": wantTrue,
		"a.plain": {Format: quant.Format{Kind: quant.Dense, DType: quant.BF16}, Rows: 2, Cols: 5, Data: make([]byte, 20)},
	} {
		got, err := src.Matrix(module)
		if err != nil {
			t.Fatal(err)
		}
		if got.Format != want.Format || got.Rows != want.Rows || got.Cols != want.Cols || !bytes.Equal(got.Data, want.Data) ||
			!bytes.Equal(got.Scales, want.Scales) || !bytes.Equal(got.Biases, want.Biases) {
			t.Errorf("%s: %v [%d, %d], want %v [%d, %d], or other bytes", module, got.Format, got.Rows, got.Cols, want.Format, want.Rows, want.Cols)
		}
	}
	if tensor, ok := src.Tensor("norm.weight"); !ok || tensor.DType != quant.BF16 || !slices.Equal(tensor.Shape, []int{1, 7}) {
		t.Errorf("norm is %+v", tensor)
	}
	if _, ok := src.Tensor("nothing"); ok || src.Has("nothing") || !src.Has("norm") {
		t.Error("Tensor or Has finds what is not there")
	}
}

func TestMatrixErrors(t *testing.T) {
	t.Parallel()
	good, _ := packed(t, "m", 2, 128, 4, 64)
	with := func(i int, replace Tensor) []Tensor {
		list := slices.Clone(good)
		list[i] = replace
		return list
	}
	const fourBit = `{"quantization":{"bits":4,"group_size":64}}`
	tests := []struct {
		name, config string
		tensors      []Tensor
		want         string
	}{
		{"missing", fourBit, []Tensor{dense("x.weight", 2, 2)}, `no tensor "m.weight"`},
		{"no config", `{}`, good, `config.json has no "quantization"`},
		{"other bits", `{"quantization":{"bits":8,"group_size":64}}`, good, `tensor "m.weight" has shape [2 16], but 8 bits in groups of 64 with scales [2 2] make [2 32]`},
		{"other group", `{"quantization":{"bits":4,"group_size":32}}`, good, "make [2 8]"},
		{"no biases", fourBit, good[:2], `no tensor "m.biases"`},
		{"scales of other rows", fourBit, with(1, Tensor{"m.scales", quant.F16, []int{1, 2}, make([]byte, 4)}), `"m.scales" has shape [1 2]`},
		{"biases of other shape", fourBit, with(2, Tensor{"m.biases", quant.F16, []int{2, 1}, make([]byte, 4)}), `"m.biases" is F16 [2 1]`},
		{"biases of other type", fourBit, with(2, Tensor{"m.biases", quant.BF16, []int{2, 2}, make([]byte, 8)}), `"m.biases" is BF16`},
		{"weight not packed", fourBit, with(0, dense("m.weight", 2, 128)), "expected packed weights"},
		{"false beside scales", `{"quantization":{"bits":4,"group_size":64,"m":false}}`, good, `has "m" quantized: false, but tensor "m.scales" is there`},
		{"true without scales", `{"quantization":{"bits":4,"group_size":64,"m":true}}`, []Tensor{dense("m.weight", 2, 2)}, "is not there"},
		{"four dimensions", `{}`, []Tensor{{"m.weight", quant.F16, []int{2, 2, 2, 1}, make([]byte, 16)}}, "expected 2 dimensions, or 3 for experts"},
		{"stack of bytes", `{}`, []Tensor{{"m.weight", quant.U8, []int{2, 2, 2}, make([]byte, 8)}}, `tensor "m.weight": dense weights of type U8`},
		{"stacks of different size", fourBit, with(0, Tensor{"m.weight", quant.U32, []int{1, 2, 16}, good[0].Data}), `"m.scales" has shape [2 2], expected [1 2 16]`},
		{"bytes", `{}`, []Tensor{{"m.weight", quant.U8, []int{2, 2}, make([]byte, 4)}}, `tensor "m.weight": dense weights of type U8`},
	}
	for _, test := range tests {
		dir := t.TempDir()
		write(t, dir, map[string]string{"config.json": test.config}, map[string][]Tensor{"model.safetensors": test.tensors})
		src, err := Open(dir)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if _, err = src.Matrix("m"); err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: error %v, want one with %q", test.name, err, test.want)
		}
		src.Close()
	}
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	one := map[string][]Tensor{"model.safetensors": {dense("a.weight", 1, 1)}}
	config := func(s string) map[string]string { return map[string]string{"config.json": s} }
	tests := []struct {
		name  string
		text  map[string]string
		files map[string][]Tensor
		want  string
	}{
		{"empty folder", nil, nil, "is not a model folder: expected config.json"},
		{"no config", nil, one, "no config.json"},
		{"bin", map[string]string{"config.json": "{}", "pytorch_model.bin": ""}, nil, "only pytorch_model.bin"},
		{"consolidated", map[string]string{"consolidated.safetensors": "", "params.json": ""}, nil, "only consolidated.safetensors"},
		{"gguf", map[string]string{"x-q4.gguf": ""}, nil, filepath.Join("", "x-q4.gguf")},
		{"adapter", nil, map[string][]Tensor{"adapters.safetensors": {dense("a.weight", 1, 1)}}, "this folder as adapter_path"},
		{"other name", config("{}"), map[string][]Tensor{"weights.safetensors": {dense("a.weight", 1, 1)}}, "named model*.safetensors"},
		{"broken config", config("{\n \"a\": 1,\n \"b\": }"), one, "config.json:3:7: invalid character '}'"},
		{"config is a list", config("[1]"), one, "config.json:1:1: "},
		{"config is null", config("null"), one, "expected a JSON object"},
		{"duplicate", config("{}"), map[string][]Tensor{"model.safetensors": {dense("a.weight", 1, 1)}, "model-old.safetensors": {dense("a.weight", 1, 1)}},
			`tensor "a.weight" is in both model-old.safetensors and model.safetensors`},
		{"index", map[string]string{"config.json": "{}", indexName: `{"weight_map":{"a.weight":"model.safetensors","b.weight":"model-2.safetensors"}}`}, one,
			"model.safetensors.index.json names model-2.safetensors, which is not there"},
		{"broken index", map[string]string{"config.json": "{}", indexName: `{"weight_map":[]}`}, one, indexName},
		{"shard by number", config("{}"), map[string][]Tensor{"model-00002-of-00003.safetensors": {dense("a.weight", 1, 1)}},
			"but model-00001-of-00003.safetensors is not"},
		{"quantization mode", config(`{"quantization":{"bits":4,"group_size":32,"mode":"mxfp6"}}`), one, `mode "mxfp6" is not one of affine, mxfp4`},
		{"bits of a mode", config(`{"quantization":{"bits":8,"group_size":32,"mode":"mxfp4"}}`), one, "mode mxfp4 with 8 bits in groups of 32"},
		{"cut file", map[string]string{"config.json": "{}", "model.safetensors": "1234567"}, nil, "model.safetensors: 7 bytes"},
		{"empty file", map[string]string{"config.json": "{}", "model.safetensors": ""}, nil, "model.safetensors is empty"},
	}
	for _, test := range tests {
		dir := t.TempDir()
		write(t, dir, test.text, test.files)
		src, err := Open(dir)
		if err == nil {
			src.Close()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: error %v, want one with %q", test.name, err, test.want)
		}
	}

	dir := t.TempDir()
	write(t, dir, map[string]string{"x.bin": "text"}, one)
	for path, want := range map[string]string{
		"none": "no model at", "x.bin": "neither a model folder nor a GGUF file", "model.safetensors": "give the folder it is in",
	} {
		if _, err := Open(filepath.Join(dir, path)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", path, err, want)
		}
	}
}

// TestStaleIndex: an index of another save does no harm.
func TestStaleIndex(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, map[string]string{"config.json": "{}", indexName: `{"weight_map":{"a.weight":"model-00001-of-00002.safetensors"}}`},
		map[string][]Tensor{"model.safetensors": {dense("a.weight", 1, 1)}})
	src, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	src.Close()
}

func TestParseQuantization(t *testing.T) {
	t.Parallel()
	good, err := parseQuantization([]byte(`{"quantization_config":{"bits":8,"group_size":128,"a":{"bits":6},"b":false,"c":true,"note":"x"}}`))
	if err != nil {
		t.Fatal(err)
	}
	affine := func(bits, group int) setting {
		return setting{true, quant.Format{Kind: quant.Affine, DType: quant.F32, Bits: bits, Group: group}}
	}
	var none Tensor
	for module, want := range map[string]setting{
		"a": affine(6, 64), "c": affine(8, 128), "other": affine(8, 128),
	} {
		if got, err := good.of(module, none, &none); got != want || err != nil {
			t.Errorf("%s: %+v, %v, want %+v", module, got, err, want)
		}
	}
	for _, module := range []string{"b", "other"} {
		if got, err := good.of(module, none, nil); got.quantized || err != nil {
			t.Errorf("%s: %+v, %v, want dense", module, got, err)
		}
	}
	for config, want := range map[string]string{
		`{"text_config":{"quantization_config":{"bits":7,"group_size":64}}}`:               "7 bits",
		`{"quantization":{"bits":7,"group_size":64}}`:                                      "7 bits",
		`{"quantization":{"bits":4}}`:                                                      "group size 0",
		`{"quantization":4}`:                                                               "expected an object",
		`{"quantization":{"bits":"4","group_size":64}}`:                                    "bits",
		`{"quantization":{"bits":4,"group_size":64,"m":{"bits":9}}}`:                       `"m": 9 bits`,
		`{"quantization":{"bits":4,"group_size":64,"m":{"mode":"nvfp4","group_size":64}}}`: `"m": mode nvfp4 with 4 bits in groups of 64`,
		`{"quantization_config":{"quant_method":"awq","bits":4,"group_size":128}}`:         `quant_method "awq", which is not supported yet`,
		`{"quantization":null,"quantization_config":{"quant_method":"bitsandbytes"}}`:      "bitsandbytes",
	} {
		if _, err := parseQuantization([]byte(config)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", config, err, want)
		}
	}
	if q, err := parseQuantization([]byte(`{"quantization":null,"quantization_config":null}`)); q.present || err != nil {
		t.Errorf("null: %+v, %v", q, err)
	}
}

// TestInferQuantization: modules that are not listed are read by their shapes
// and the width that config.json gives them, as mlx-lm does.
func TestInferQuantization(t *testing.T) {
	t.Parallel()
	q, err := parseQuantization([]byte(`{"hidden_size":256,"intermediate_size":512,"num_attention_heads":4,"head_dim":32,"moe_intermediate_size":128,
		"quantization":{"bits":4,"group_size":64,"mode":"affine","model.layers.0.self_attn.q_proj":{"mode":"nvfp4"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		module string
		dtype  quant.DType
		words  int
		groups int
		want   string
	}{
		{"lm_head", quant.F16, 32, 4, "4-bit g64"},
		{"lm_head", quant.F16, 64, 8, "8-bit g32"}, // the shapes of 4 bits in groups of 64 too, but twice as wide
		{"model.embed_tokens", quant.BF16, 48, 4, "6-bit g64"},
		{"model.layers.3.mlp.down_proj", quant.F32, 48, 4, "3-bit g128"},
		{"model.layers.3.self_attn.o_proj", quant.F32, 12, 4, "3-bit g32"},
		{"model.layers.0.self_attn.q_proj", quant.U8, 32, 16, "nvfp4"},
		{"model.layers.1.self_attn.q_proj", quant.U8, 32, 8, "mxfp4"},
		{"model.layers.1.self_attn.q_proj", quant.U8, 32, 16, "nvfp4"},
		{"model.layers.1.mlp.switch_mlp.down_proj", quant.F16, 16, 2, "4-bit g64"},
		{"model.layers.1.mlp.gate", quant.F16, 64, 4, "8-bit g64"},
		{"anything", quant.U8, 64, 8, "mxfp8"},
		{"anything", quant.F16, 64, 8, "4-bit g64"}, // width unknown: as all modules
		{"lm_head", quant.F16, 33, 4, "4-bit g64"},  // no format: the error is told with these
		{"model.layers.1.mlp.up_proj", quant.F16, 0, 0, "4-bit g64"},
	} {
		weight := Tensor{DType: quant.U32, Shape: []int{2, test.words}}
		scales := Tensor{DType: test.dtype, Shape: []int{2, test.groups}}
		got, err := q.of(test.module, weight, &scales)
		if err != nil || got.format.String() != test.want {
			t.Errorf("%s, %d words and %d scales of %v: %v (%v), want %s", test.module, test.words, test.groups, test.dtype, got.format, err, test.want)
		}
	}
}

// TestFPMatrices reads the modes without biases, set for all modules and for one.
func TestFPMatrices(t *testing.T) {
	t.Parallel()
	tensors := func(module string, kind quant.Kind) ([]Tensor, *quant.Matrix) {
		m, err := quant.QuantizeFP(make([]float32, 2*64), 2, 64, kind, quant.F32, quant.RuleCPU)
		if err != nil {
			t.Fatal(err)
		}
		m.Data[5], m.Scales[1] = 0x35, 3
		return []Tensor{
			{module + ".weight", quant.U32, []int{2, m.Format.RowBytes(64) / 4}, m.Data},
			{module + ".scales", quant.U8, []int{2, 64 / m.Format.Group}, m.Scales},
		}, m
	}
	four, wantFour := tensors("four", quant.MXFP4)
	nv, wantNV := tensors("nv", quant.NVFP4)
	eight, wantEight := tensors("eight", quant.MXFP8)
	wrong := []Tensor{four[0], {"wrong.scales", quant.F16, []int{2, 2}, make([]byte, 8)}}
	wrong[0].Name = "wrong.weight"
	whole := []Tensor{nv[0], nv[1], {"whole.global_scale", quant.F32, nil, make([]byte, 4)}}
	whole[0].Name, whole[1].Name = "whole.weight", "whole.scales"
	dir := t.TempDir()
	write(t, dir, map[string]string{"config.json": `{"quantization":{"mode":"mxfp4","group_size":32,"bits":4,
		"nv":{"group_size":16,"bits":4,"mode":"nvfp4"},"wrong":true}}`},
		map[string][]Tensor{"model.safetensors": slices.Concat(four, nv, eight, wrong, whole)})
	src, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	for module, want := range map[string]*quant.Matrix{"four": wantFour, "nv": wantNV, "eight": wantEight} {
		got, err := src.Matrix(module)
		if err != nil {
			t.Fatal(err)
		}
		if got.Format != want.Format || !slices.Equal(got.Floats(), want.Floats()) {
			t.Errorf("%s: %v, want %v, or other values", module, got.Format, want.Format)
		}
	}
	for module, want := range map[string]string{"wrong": "mxfp4 has scales of type U8", "whole": "a scale for the whole matrix"} {
		if _, err := src.Matrix(module); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", module, err, want)
		}
	}
}

func FuzzQuantConfig(f *testing.F) {
	f.Add([]byte(`{"quantization":{"bits":4,"group_size":64,"m":false,"n":{"bits":6,"group_size":32,"mode":"affine"}}}`), 16, 2)
	f.Add([]byte(`{"hidden_size":64,"quantization":{"bits":4,"group_size":32,"mode":"mxfp4","lm_head":{"mode":"nvfp4"}}}`), 8, 2)
	f.Add([]byte(`{"quantization_config":{"quant_method":"gptq"}}`), 1, 1)
	f.Add([]byte(`{"quantization_config":{"quant_method":"mxfp4"}}`), 1, 1)
	f.Fuzz(func(t *testing.T, config []byte, words, groups int) {
		q, err := parseQuantization(config)
		if err != nil {
			return
		}
		words, groups = words&0xffff, groups&0xffff // sizes of tensors in memory
		weight := Tensor{DType: quant.U32, Shape: []int{1, words}}
		for _, scales := range []*Tensor{nil, {DType: quant.F16, Shape: []int{1, groups}}, {DType: quant.U8, Shape: []int{1, groups}}} {
			for _, module := range append(slices.Collect(maps.Keys(q.modules)), "lm_head", "m.o_proj", "m.down_proj") {
				s, err := q.of(module, weight, scales)
				if err != nil {
					continue
				}
				if s.quantized != (scales != nil) || s.quantized && s.format.Check() != nil {
					t.Fatalf("%s: %+v with scales %v", module, s, scales)
				}
			}
		}
	})
}
