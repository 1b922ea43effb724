package weights

import (
	"bytes"
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
		{"other bits", `{"quantization":{"bits":8,"group_size":64}}`, good, `tensor "m.weight" has shape [2 16], but 8 bits in groups of 64 with scales [2 2] make [2, 32]`},
		{"other group", `{"quantization":{"bits":4,"group_size":32}}`, good, "make [2, 8]"},
		{"no biases", fourBit, good[:2], `no tensor "m.biases"`},
		{"scales of other rows", fourBit, with(1, Tensor{"m.scales", quant.F16, []int{1, 2}, make([]byte, 4)}), `"m.scales" has shape [1 2]`},
		{"biases of other shape", fourBit, with(2, Tensor{"m.biases", quant.F16, []int{2, 1}, make([]byte, 4)}), `"m.biases" is F16 [2 1]`},
		{"biases of other type", fourBit, with(2, Tensor{"m.biases", quant.BF16, []int{2, 2}, make([]byte, 8)}), `"m.biases" is BF16`},
		{"weight not packed", fourBit, with(0, dense("m.weight", 2, 128)), "expected packed weights"},
		{"false beside scales", `{"quantization":{"bits":4,"group_size":64,"m":false}}`, good, `has "m" quantized: false, but tensor "m.scales" is there`},
		{"true without scales", `{"quantization":{"bits":4,"group_size":64,"m":true}}`, []Tensor{dense("m.weight", 2, 2)}, "is not there"},
		{"expert stack", `{}`, []Tensor{{"m.weight", quant.U8, []int{2, 2, 2}, make([]byte, 8)}}, "expected 2 dimensions"},
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
		{"adapter", nil, map[string][]Tensor{"adapters.safetensors": {dense("a.weight", 1, 1)}}, "--adapter-path"},
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
		{"quantization mode", config(`{"quantization":{"bits":4,"group_size":32,"mode":"mxfp4"}}`), one, `mode "mxfp4" is not supported yet`},
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
	for module, want := range map[string]setting{
		"a": {true, 6, 64}, "c": {true, 8, 128}, "other": {true, 8, 128},
	} {
		if got, err := good.of(module, true); got != want || err != nil {
			t.Errorf("%s: %+v, %v, want %+v", module, got, err, want)
		}
	}
	for _, module := range []string{"b", "other"} {
		if got, err := good.of(module, false); got.quantized || err != nil {
			t.Errorf("%s: %+v, %v, want dense", module, got, err)
		}
	}
	for config, want := range map[string]string{
		`{"quantization":{"bits":7,"group_size":64}}`:                                 "7 bits",
		`{"quantization":{"bits":4}}`:                                                 "group size 0",
		`{"quantization":4}`:                                                          "expected an object",
		`{"quantization":{"bits":"4","group_size":64}}`:                               "bits",
		`{"quantization":{"bits":4,"group_size":64,"m":{"bits":9}}}`:                  `"m": 9 bits`,
		`{"quantization":{"bits":4,"group_size":64,"m":{"mode":"nvfp4"}}}`:            `mode "nvfp4" is not supported yet`,
		`{"quantization_config":{"quant_method":"awq","bits":4,"group_size":128}}`:    `quant_method "awq", which is not supported yet`,
		`{"quantization":null,"quantization_config":{"quant_method":"bitsandbytes"}}`: "bitsandbytes",
	} {
		if _, err := parseQuantization([]byte(config)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", config, err, want)
		}
	}
	if q, err := parseQuantization([]byte(`{"quantization":null,"quantization_config":null}`)); q.present || err != nil {
		t.Errorf("null: %+v, %v", q, err)
	}
}

func FuzzQuantConfig(f *testing.F) {
	f.Add([]byte(`{"quantization":{"bits":4,"group_size":64,"m":false,"n":{"bits":6,"group_size":32,"mode":"affine"}}}`))
	f.Add([]byte(`{"quantization_config":{"quant_method":"gptq"}}`))
	f.Fuzz(func(t *testing.T, config []byte) {
		q, err := parseQuantization(config)
		if err != nil {
			return
		}
		for _, scales := range []bool{false, true} {
			for module := range q.modules {
				if s, err := q.of(module, scales); err == nil && s.quantized != scales {
					t.Fatalf("%s: %+v with scales %v", module, s, scales)
				}
			}
		}
	})
}
