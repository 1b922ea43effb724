package adapter_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/spoil"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/weights"
)

// TestExpertAdapterRoundTrip reads an adapter of experts apart from its model and
// writes it again.
func TestExpertAdapterRoundTrip(t *testing.T) {
	t.Parallel()
	tokens := model.Sequence(modeltest.Sequence(9), 0)
	for _, spec := range modeltest.Mixtures() {
		dev := newCPU(t)
		trained := adaptedBy(t, dev, spec, loraFit)
		want := modeltest.Logits(t, trained, tokens)
		dir, back := writeAdapter(t, loraConfig, trained), filepath.Join(t.TempDir(), "mlx")
		f, err := adapter.Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.WriteMLX(back); err != nil {
			t.Fatal(err)
		}
		m := modeltest.Load(t, dev, spec)
		if err := adapter.Load(m, back); err != nil {
			t.Fatal(err)
		}
		modeltest.Alike(t, spec.Type+", written again", modeltest.Logits(t, m, tokens), want, sameTolerance)
		if err := f.Attach(m); err != nil {
			t.Fatal(err)
		}
		modeltest.Alike(t, spec.Type+", attached", modeltest.Logits(t, m, tokens), want, sameTolerance)
		peft := filepath.Join(t.TempDir(), "peft")
		if err := f.WritePEFT(peft); err != nil {
			t.Fatal(err)
		}
		m.Detach()
		if err := adapter.Load(m, peft); err != nil {
			t.Fatal(err)
		}
		modeltest.Alike(t, spec.Type+", by way of PEFT", modeltest.Logits(t, m, tokens), want, sameTolerance)
	}
}

// TestExpertAdapterMerge: half of an adapter and half of the same is the adapter,
// and so it is beside one of other rank that counts for nothing.
func TestExpertAdapterMerge(t *testing.T) {
	t.Parallel()
	tokens := model.Sequence(modeltest.Sequence(9), 0)
	for _, spec := range modeltest.Mixtures() {
		dev := newCPU(t)
		trained := adaptedBy(t, dev, spec, loraFit)
		want := modeltest.Logits(t, trained, tokens)
		f, err := adapter.Read(writeAdapter(t, loraConfig, trained))
		if err != nil {
			t.Fatal(err)
		}
		other := adaptedBy(t, dev, spec, adapter.Config{Rank: 1, Scale: 3, NumLayers: 2})
		g, err := adapter.Read(writeAdapter(t, strings.NewReplacer(`"rank": 3`, `"rank": 1`, `"num_layers": 1`, `"num_layers": 2`).Replace(loraConfig), other))
		if err != nil {
			t.Fatal(err)
		}
		sum, err := adapter.Merge([]*adapter.Adapter{f, g, f}, []float32{0.25, 0, 0.75})
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "sum")
		if err := sum.WriteMLX(dir); err != nil {
			t.Fatal(err)
		}
		m := modeltest.Load(t, dev, spec)
		if err := adapter.Load(m, dir); err != nil {
			t.Fatal(err)
		}
		modeltest.Alike(t, spec.Type+", merged", modeltest.Logits(t, m, tokens), want, sameTolerance)
	}
}

func TestExpertAdapterErrors(t *testing.T) {
	t.Parallel()
	spec := modeltest.Spec{Type: "mixtral", Config: map[string]any{"num_local_experts": 4}}
	const module = "model.layers.0.block_sparse_moe.switch_mlp.up_proj"
	config := strings.Replace(loraConfig, `"num_layers": 1`, `"num_layers": -1`, 1)
	for name, test := range map[string]struct {
		a, b []int
		want string
	}{
		"other number of experts": {[]int{5, 3, modeltest.Hidden}, []int{5, modeltest.Inner, 3}, "do not fit this model"},
		"not the same number":     {[]int{4, 3, modeltest.Hidden}, []int{5, modeltest.Inner, 3}, "experts"},
		"one a stack":             {[]int{4, 3, modeltest.Hidden}, []int{3, modeltest.Inner}, "experts"},
		"no stack":                {[]int{modeltest.Hidden, 3}, []int{3, modeltest.Inner}, "do not fit this model"},
		"ranks":                   {[]int{4, 3, modeltest.Hidden}, []int{4, modeltest.Inner, 2}, "rank"},
		"empty":                   {[]int{4, 0, modeltest.Hidden}, []int{4, modeltest.Inner, 0}, "floating-point"},
	} {
		dir := t.TempDir()
		var tensors []weights.Tensor
		for part, shape := range map[string][]int{".lora_a": test.a, ".lora_b": test.b} {
			n := 4
			for _, s := range shape {
				n *= s
			}
			tensors = append(tensors, weights.Tensor{Name: module + part, DType: quant.F32, Shape: shape, Data: make([]byte, n)})
		}
		if err := weights.WriteSafetensors(filepath.Join(dir, adapter.File), tensors, nil); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, adapter.ConfigFile), []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := adapter.Read(dir)
		if err == nil {
			err = f.Attach(modeltest.Load(t, newCPU(t), spec))
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, test.want)
		}
		if err := adapter.Load(modeltest.Load(t, newCPU(t), spec), dir); err == nil {
			t.Errorf("%s: it was loaded", name)
		}
	}
}

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

// TestReadPEFTExperts: which number of which expert is where, that experts of which
// the file says nothing stay as they are, and that all have names when it is written.
func TestReadPEFTExperts(t *testing.T) {
	t.Parallel()
	const h, inner = modeltest.Hidden, modeltest.Inner
	read := func(path string) *adapter.Adapter {
		f, err := adapter.Read(filepath.Dir(path))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := read(expertPEFT(t))
	var names []string
	for _, u := range f.Updates {
		names = append(names, u.Module)
	}
	if want := []string{peftMoE + "gate", peftMoE + "switch_mlp.down_proj", peftMoE + "switch_mlp.gate_proj"}; !slices.Equal(names, want) {
		t.Fatalf("updates of %v, want %v", names, want)
	}
	down, gate := f.Updates[1], f.Updates[2]
	if !slices.Equal(down.Shape(), []int{3, h, inner}) || down.Rank != 2 || !slices.Equal(gate.Shape(), []int{3, inner, h}) || gate.Rank != 1 || gate.Scale != 6 {
		t.Errorf("down_proj %v of rank %d, gate_proj %v of rank %d times %v", down.Shape(), down.Rank, gate.Shape(), gate.Rank, gate.Scale)
	}
	// What input 5 of expert e does to output 7. The scale is lora_alpha by the expert's own rank.
	moves := func(u adapter.Update, e int) (sum float32) {
		for r := range u.Rank {
			sum += u.Scale * u.A[(e*u.In+5)*u.Rank+r] * u.B[(e*u.Rank+r)*u.Out+7]
		}
		return sum
	}
	for e, want := range []float32{6 * 5 * 7, 0, 3 * (5*14 + (inner+5)*15)} {
		if got := moves(down, e); got != want {
			t.Errorf("expert %d of down_proj: %v, want %v", e, got, want)
		}
	}
	if got := []float32{moves(gate, 0), moves(gate, 1), moves(gate, 2)}; !slices.Equal(got, []float32{0, 6 * 5 * 7, 0}) {
		t.Errorf("gate_proj: %v", got)
	}

	if err := f.WriteMLX(t.TempDir()); fault.SettingOf(err) != "model" {
		t.Errorf("written without the model's number of experts: %v", err)
	}
	m := modeltest.Load(t, newCPU(t), modeltest.Mixtures()[0])
	if err := f.Attach(m); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteMLX(t.TempDir()); err != nil {
		t.Error(err)
	}
	if down := f.Updates[1]; !slices.Equal(down.Shape(), []int{4, h, inner}) || moves(down, 3) != 0 {
		t.Errorf("with the model's experts down_proj is %v", down.Shape())
	}
	dir := filepath.Join(t.TempDir(), "again")
	if err := f.WritePEFT(dir); err != nil {
		t.Fatal(err)
	}
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
	again := read(filepath.Join(dir, adapter.PEFTFile)).Updates[1]
	for e := range 4 {
		if got, want := moves(again, e), moves(f.Updates[1], e); got != want {
			t.Errorf("expert %d, written and read again: %v, want %v", e, got, want)
		}
	}
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
	read := func(shapes map[string][]int) *adapter.Adapter {
		f, err := adapter.Read(filepath.Dir(peftFile(t, peftConfig, shapes)))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	wide, many := read(pair("model.layers.0.self_attn.q_proj", 1, 8192, 1)), read(pair("model.layers.1.self_attn.q_proj", 1024, 1, 1024))
	if _, err := adapter.Merge([]*adapter.Adapter{wide, many}, []float32{1, 1}); err == nil || !strings.Contains(err.Error(), "would become") {
		t.Errorf("merged: %v", err)
	}
}

// TestRanksOfTheFile: modules of several ranks take no more than they have, neither
// when they are looked at nor in a model.
func TestRanksOfTheFile(t *testing.T) {
	dev := newCPU(t)
	const h = modeltest.Hidden
	path := peftFile(t, peftConfig, map[string][]int{
		"model.layers.0.self_attn.q_proj.lora_A.weight": {1, h}, "model.layers.0.self_attn.q_proj.lora_B.weight": {h, 1},
		"model.layers.1.self_attn.q_proj.lora_A.weight": {5, h}, "model.layers.1.self_attn.q_proj.lora_B.weight": {h, 5},
	})
	f, err := adapter.Read(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1, func() {
		if rank, scale := f.Common(); rank != 5 || scale != 1 {
			t.Errorf("rank %d, scale %v", rank, scale)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
	tokens := model.Sequence(modeltest.Sequence(9), 0)
	m := modeltest.Load(t, dev, modeltest.Spec{Type: "llama"})
	if err := f.Attach(m); err != nil {
		t.Fatal(err)
	}
	for i, l := range m.Adapted() {
		if lora := l.Adapter.(*nn.LoRA); lora.Rank() != []int{1, 5}[i] || lora.Scale != []float32{6, 6.0 / 5}[i] {
			t.Errorf("%s has rank %d and scale %v", l.Name, lora.Rank(), lora.Scale)
		}
	}
	got := modeltest.Logits(t, m, tokens)
	uniform := filepath.Join(t.TempDir(), "uniform")
	if err := f.WriteMLX(uniform); err != nil {
		t.Fatal(err)
	}
	if err := adapter.Load(m, uniform); err != nil {
		t.Fatal(err)
	}
	modeltest.Alike(t, "with one rank", modeltest.Logits(t, m, tokens), got, sameTolerance)
}
