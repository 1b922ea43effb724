package adapter_test

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/spoil"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/weights"
)

// peftFile makes an adapter folder of PEFT's with tensors whose numbers count up
// from 0, and returns the path of these.
func peftFile(t testing.TB, config string, shapes map[string][]int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), adapter.PEFTFile)
	var tensors []weights.Tensor
	for _, name := range slices.Sorted(maps.Keys(shapes)) {
		shape, n := shapes[name], 1
		for _, s := range shape {
			n *= s
		}
		data := make([]byte, 4*n)
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(i)
		}
		quant.PutFloats(data, values, quant.F32)
		tensors = append(tensors, weights.Tensor{Name: "base_model.model." + name, DType: quant.F32, Shape: shape, Data: data})
	}
	if err := weights.WriteSafetensors(path, tensors, map[string]string{"format": "pt"}); err != nil {
		t.Fatal(err)
	}
	spoil.WriteFile(t, filepath.Join(filepath.Dir(path), adapter.ConfigFile), []byte(config))
	return path
}

const (
	peftConfig = `{"peft_type": "LORA", "r": 1, "lora_alpha": 6}`
	peftMoE    = "model.layers.0.block_sparse_moe."
)

// expertPEFT is an adapter for some of 4 experts, as PEFT names them, of several ranks.
func expertPEFT(t testing.TB) string {
	t.Helper()
	const h, inner = modeltest.Hidden, modeltest.Inner
	return peftFile(t, peftConfig, map[string][]int{
		peftMoE + "experts.0.w2.lora_A.weight": {1, inner}, peftMoE + "experts.0.w2.lora_B.weight": {h, 1},
		peftMoE + "experts.2.w2.lora_A.weight": {2, inner}, peftMoE + "experts.2.w2.lora_B.weight": {h, 2},
		peftMoE + "experts.1.w1.lora_A.weight": {1, h}, peftMoE + "experts.1.w1.lora_B.weight": {inner, 1},
		peftMoE + "gate.lora_A.weight": {1, h}, peftMoE + "gate.lora_B.weight": {4, 1},
	})
}

// TestReadPEFTExperts: a LoRA for some of 4 experts becomes one for the stack.
func TestReadPEFTExperts(t *testing.T) {
	t.Parallel()
	const h, inner = modeltest.Hidden, modeltest.Inner
	f := readPEFT(t, expertPEFT(t))
	var names []string
	for _, u := range f.Updates {
		names = append(names, u.Module)
	}
	if want := []string{peftMoE + "gate", peftMoE + "switch_mlp.down_proj", peftMoE + "switch_mlp.gate_proj"}; !slices.Equal(names, want) {
		t.Fatalf("updates of %v, want %v", names, want)
	}
	down, gate := f.Updates[1], f.Updates[2]
	t.Run("stacks reach to the last expert of the file", func(t *testing.T) {
		if !slices.Equal(down.Shape(), []int{3, h, inner}) || down.Rank != 2 || !slices.Equal(gate.Shape(), []int{3, inner, h}) || gate.Rank != 1 || gate.Scale != 6 {
			t.Errorf("down_proj %v of rank %d, gate_proj %v of rank %d times %v", down.Shape(), down.Rank, gate.Shape(), gate.Rank, gate.Scale)
		}
	})
	t.Run("each expert has its numbers, and its scale is lora_alpha by its own rank", func(t *testing.T) {
		for e, want := range []float32{6 * 5 * 7, 0, 3 * (5*14 + (inner+5)*15)} {
			if got := moves(down, e); got != want {
				t.Errorf("expert %d of down_proj: %v, want %v", e, got, want)
			}
		}
		if got := []float32{moves(gate, 0), moves(gate, 1), moves(gate, 2)}; !slices.Equal(got, []float32{0, 6 * 5 * 7, 0}) {
			t.Errorf("gate_proj: %v", got)
		}
	})
	t.Run("mlx-lm's layout needs the model's number of experts", func(t *testing.T) {
		if err := f.WriteMLX(t.TempDir()); fault.SettingOf(err) != "model" || !strings.Contains(err.Error(), "Name the base model") {
			t.Errorf("written without it: %v", err)
		}
	})
}

// TestPEFTExpertsOfModel: with a model, all of its experts are there and have names when
// the adapter is written.
func TestPEFTExpertsOfModel(t *testing.T) {
	t.Parallel()
	const h, inner = modeltest.Hidden, modeltest.Inner
	f := readPEFT(t, expertPEFT(t))
	m := modeltest.Load(t, newCPU(t), modeltest.Mixtures()[0])
	if err := f.Attach(m); err != nil {
		t.Fatal(err)
	}
	t.Run("stacks have the model's experts", func(t *testing.T) {
		if down := f.Updates[1]; !slices.Equal(down.Shape(), []int{4, h, inner}) || moves(down, 3) != 0 {
			t.Errorf("down_proj is %v", down.Shape())
		}
		if err := f.WriteMLX(t.TempDir()); err != nil {
			t.Error(err)
		}
	})
	dir := filepath.Join(t.TempDir(), "again")
	if err := f.WritePEFT(dir); err != nil {
		t.Fatal(err)
	}
	t.Run("each expert has a name in the file", func(t *testing.T) {
		file, err := weights.OpenSafetensors(filepath.Join(dir, adapter.PEFTFile))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if n := len(file.Names()); n != 2*(4+4+1) {
			t.Errorf("%d tensors in %v", n, file.Names())
		}
		if x, ok := file.Tensor("base_model.model." + peftMoE + "experts.2.w2.lora_A.weight"); !ok || !slices.Equal(x.Shape, []int{2, inner}) {
			t.Errorf("expert 2's A is %v %v", x.Shape, ok)
		}
	})
	t.Run("read again, they do the same", func(t *testing.T) {
		again := readPEFT(t, filepath.Join(dir, adapter.PEFTFile)).Updates[1]
		for e := range 4 {
			if got, want := moves(again, e), moves(f.Updates[1], e); got != want {
				t.Errorf("expert %d: %v, want %v", e, got, want)
			}
		}
	})
}

// readPEFT reads the adapter that a file of weights belongs to.
func readPEFT(t *testing.T, path string) *adapter.Adapter {
	t.Helper()
	f, err := adapter.Read(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// moves is what input 5 of expert e does to output 7.
func moves(u adapter.Update, e int) (sum float32) {
	for r := range u.Rank {
		sum += u.Scale * u.A[(e*u.In+5)*u.Rank+r] * u.B[(e*u.Rank+r)*u.Out+7]
	}
	return sum
}

func TestReadPEFTExpertErrors(t *testing.T) {
	t.Parallel()
	const h, inner = modeltest.Hidden, modeltest.Inner
	pair := func(module string, in, rank, out int) map[string][]int {
		return map[string][]int{module + ".lora_A.weight": {rank, in}, module + ".lora_B.weight": {out, rank}}
	}
	both := func(a, b map[string][]int) map[string][]int {
		maps.Copy(a, b)
		return a
	}
	one := pair(peftMoE+"experts.0.w2", inner, 1, h)
	dora := both(map[string][]int{peftMoE + "experts.0.w2.lora_magnitude_vector": {h}}, one)
	for name, test := range map[string]struct {
		config string
		shapes map[string][]int
		want   []string
	}{
		"unlike":     {peftConfig, both(pair(peftMoE+"experts.1.w2", inner, 1, h+1), one), []string{"experts are alike", "from 64 to 33"}},
		"twice":      {peftConfig, both(pair(peftMoE+"experts.00.w2", inner, 1, h), one), []string{"are the same expert's"}},
		"the stack":  {peftConfig, both(pair(peftMoE+"switch_mlp.down_proj", inner, 1, h), one), []string{"switch_mlp.down_proj", "the experts that this consists of"}},
		"DoRA":       {`{"peft_type": "LORA", "lora_alpha": 6, "use_dora": true}`, dora, []string{"experts.0.w2", "experts take no DoRA"}},
		"setting":    {`{"peft_type": "LORA", "lora_alpha": 6, "target_parameters": ["mlp.experts.gate_up_proj"]}`, one, []string{`target_parameters is ["mlp.experts.gate_up_proj"]`, "target_modules", "merge_and_unload"}},
		"parameters": {peftConfig, pair("model.layers.0.mlp.experts.base_layer", h, 8, 2*inner), []string{"mlp.experts.base_layer", "target_parameters", "target_modules"}},
		"far away":   {peftConfig, both(pair(peftMoE+"experts.999999.w2", inner, 1, h), one), []string{"192 numbers", "all 1000000 experts", "down_proj", "expected at most"}},
		"spread ranks": {peftConfig, both(pair("model.layers.0.self_attn.q_proj", 1, 8192, 1), both(pair("model.layers.1.self_attn.q_proj", 1024, 1, 1024), pair("model.layers.2.self_attn.q_proj", 1024, 1, 1024))),
			[]string{"would become", "rank 8192 of model.layers.0.self_attn.q_proj", "rank_pattern"}},
		"rank": {peftConfig, pair("model.layers.0.self_attn.q_proj", 1, 8193, 1), []string{"rank 8193, expected at most 8192", adapter.PEFTFile}},
	} {
		path := peftFile(t, test.config, test.shapes)
		_, err := adapter.Read(filepath.Dir(path))
		for _, part := range append(test.want, filepath.Dir(path)) {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: error %v, want one with %q", name, err, part)
			}
		}
	}
	// Each of two is well, but not their sum.
	read := func(shapes map[string][]int) *adapter.Adapter { return readPEFT(t, peftFile(t, peftConfig, shapes)) }
	wide, many := read(pair("model.layers.0.self_attn.q_proj", 1, 8192, 1)), read(pair("model.layers.1.self_attn.q_proj", 1024, 1, 1024))
	if _, err := adapter.Merge([]*adapter.Adapter{wide, many}, []float32{1, 1}); err == nil || !strings.Contains(err.Error(), "would become") {
		t.Errorf("merged: %v", err)
	}
}
