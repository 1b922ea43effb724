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
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/weights"
)

// TestPEFTRoundTrip takes a trained adapter to PEFT's layout and back; the model
// says the same with all three.
func TestPEFTRoundTrip(t *testing.T) {
	t.Parallel()
	t.Run("LoRA", func(t *testing.T) { roundTrip(t, loraConfig, loraFit) })
	t.Run("DoRA", func(t *testing.T) { roundTrip(t, doraConfig, doraFit) })
}

func roundTrip(t *testing.T, config string, c adapter.Config) {
	dev := newCPU(t)
	spec := modeltest.Spec{Type: "qwen2"}
	trained := adaptedBy(t, dev, spec, c)
	tokens := model.Sequence(modeltest.Sequence(9), 0)
	want := modeltest.Logits(t, trained, tokens)
	mlx := writeAdapter(t, config, trained)
	f, err := adapter.Read(mlx)
	if err != nil {
		t.Fatal(err)
	}
	peft, back := filepath.Join(t.TempDir(), "peft"), filepath.Join(t.TempDir(), "mlx")
	if err := f.WritePEFT(peft); err != nil {
		t.Fatal(err)
	}
	g, err := adapter.Read(peft)
	if err != nil {
		t.Fatal(err)
	}
	if g.Layout != "PEFT" || len(g.Updates) != len(f.Updates) {
		t.Errorf("%s adapter of %d modules, wrote %d", g.Layout, len(g.Updates), len(f.Updates))
	}
	if err := g.WriteMLX(back); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{peft, back} {
		m := modeltest.Load(t, dev, spec)
		if err := adapter.Load(m, dir); err != nil {
			t.Fatal(err)
		}
		modeltest.Alike(t, dir, modeltest.Logits(t, m, tokens), want, sameTolerance)
		m.Free()
	}
	if err := f.WritePEFT(peft); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("writing over an adapter: %v", err)
	}
}

// TestAdapterSettings: what another program left beside them does no harm to the
// settings, and writing them leaves nothing.
func TestAdapterSettings(t *testing.T) {
	t.Parallel()
	f, err := adapter.Read(writePEFT(t, peftConfig, make([]float32, modeltest.Hidden), make([]float32, modeltest.Hidden)))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, adapter.ConfigFile+".tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteMLX(dir); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 3 {
		t.Errorf("%d files: %v, %v", len(files), files, err)
	}
	if _, err := adapter.Read(dir); err != nil {
		t.Error(err)
	}
}

// writePEFT makes an adapter folder with the layer's q_proj updated by B·A.
func writePEFT(t testing.TB, config string, a, b []float32, more ...string) string {
	t.Helper()
	const module = "base_model.model.model.layers.0.self_attn.q_proj"
	dir := t.TempDir()
	tensor := func(name string, values []float32, shape ...int) weights.Tensor {
		data := make([]byte, 4*len(values))
		quant.PutFloats(data, values, quant.F32)
		return weights.Tensor{Name: name, DType: quant.F32, Shape: shape, Data: data}
	}
	rank := len(a) / modeltest.Hidden
	tensors := []weights.Tensor{
		tensor(module+".lora_A.weight", a, rank, modeltest.Hidden), tensor(module+".lora_B.weight", b, modeltest.Hidden, rank),
	}
	for _, name := range more {
		tensors = append(tensors, tensor(name, make([]float32, 4), 2, 2))
	}
	if err := weights.WriteSafetensors(filepath.Join(dir, adapter.PEFTFile), tensors, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, adapter.ConfigFile), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestReadPEFT: which number is where, and what scales it.
func TestReadPEFT(t *testing.T) {
	t.Parallel()
	const h = modeltest.Hidden
	a, b := make([]float32, 2*h), make([]float32, 2*h)
	a[h+5], b[7*2+1] = 3, 2 // Aᵀ[1, 5] and Bᵀ[7, 1]: input 5 moves output 7
	for config, scale := range map[string]float32{
		`{"peft_type": "LORA", "r": 2, "lora_alpha": 8}`:                                                                 4,
		`{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "use_rslora": true}`:                                             4 / 1.4142135,
		`{"peft_type": "LORA", "r": 64, "rank_pattern": {"q_proj": 2}, "lora_alpha": 1, "alpha_pattern": {"q_proj": 6}}`: 3,
		// The first that matches counts, and only at the start of a name.
		`{"peft_type": "LORA", "lora_alpha": 4, "fan_in_fan_out": true, "modules_to_save": null, "alpha_pattern": {"proj": 1, "self_attn..*": 8, "q_proj": 2}}`: 4,
	} {
		f, err := adapter.Read(writePEFT(t, config, a, b))
		if err != nil {
			t.Fatal(err)
		}
		u := f.Updates[0]
		if u.Module != "model.layers.0.self_attn.q_proj" || u.Rank != 2 || u.In != h || u.Out != h {
			t.Errorf("%s: read %+v", config, u)
		}
		if u.A[5*2+1] != 3 || u.B[h+7] != 2 || u.Scale < scale*0.9999 || u.Scale > scale*1.0001 {
			t.Errorf("%s: A %v, B %v, scale %v, want 3, 2, %v", config, u.A[5*2+1], u.B[h+7], u.Scale, scale)
		}
	}
	good := `{"peft_type": "LORA", "r": 2, "lora_alpha": 8}`
	for _, test := range []struct{ config, more, want string }{
		{`{"peft_type": "IA3"}`, "", `"IA3"`}, {`{"peft_type": "LORA", "use_dora": true}`, "", "0 magnitudes, expected 32"},
		{`{"peft_type": "LORA", "modules_to_save": ["lm_head"]}`, "", `modules_to_save is ["lm_head"]`}, {`{`, "", "line 1"},
		{`{"peft_type": "LORA", "bias": "all"}`, "", `bias is "all"`}, {`{"peft_type": "LORA", "lora_bias": true}`, "", "lora_bias is true"},
		{`{"peft_type": "LORA", "init_lora_weights": "pissa_niter_4"}`, "", "pissa_niter_4"},
		{`{"peft_type": "LORA", "alpha_pattern": [1]}`, "", "alpha_pattern"}, {`{"peft_type": "LORA", "alpha_pattern": {"(": 1}}`, "", "alpha_pattern"},
		{good, "base_model.model.model.norm.weight", "no part of a LoRA"},
		{good, "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector", "no part of a LoRA"},
		{`{"peft_type": "LORA", "use_dora": true}`, "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector", "1 dimension"},
		{`{"peft_type": "LORA", "use_dora": true}`, "base_model.model.model.layers.1.self_attn.q_proj.lora_magnitude_vector", "1 dimension"},
		{good, "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight", "only one"},
	} {
		var more []string
		if test.more != "" {
			more = []string{test.more}
		}
		if _, err := adapter.Read(writePEFT(t, test.config, a, b, more...)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s %s: error %v, want %q", test.config, test.more, err, test.want)
		}
	}
	// A copy of the base's embedding may lie beside it, but no other embedding.
	copied, err := adapter.Read(writePEFT(t, good, a, b, "base_model.model.model.embed_tokens.base_layer.weight"))
	if err != nil || len(copied.Copies) != 1 {
		t.Fatalf("%v, copies %v", err, copied.Copies)
	}
	m := modeltest.Load(t, newCPU(t), modeltest.Spec{Type: "llama"})
	if err := copied.Attach(m); err == nil || !strings.Contains(err.Error(), "model.embed_tokens.weight [2 2]") {
		t.Errorf("an embedding of another shape: %v", err)
	}
	copied.Copies[0], _ = m.Source().Tensor("model.embed_tokens.weight")
	if err := copied.Attach(m); err != nil {
		t.Error(err)
	}
	copied.Copies[0].Data = make([]byte, len(copied.Copies[0].Data))
	if err := copied.Attach(m); err == nil {
		t.Error("an embedding of zeros was taken for the model's")
	}
	pickle := t.TempDir()
	for _, name := range []string{adapter.ConfigFile, "adapter_model.bin"} {
		if err := os.WriteFile(filepath.Join(pickle, name), []byte(good), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := adapter.Load(m, pickle); err == nil || !strings.Contains(err.Error(), "pickle") {
		t.Errorf("a pickle: %v", err)
	}
	m = modeltest.Load(t, newCPU(t), modeltest.Spec{Type: "llama", Config: map[string]any{"hidden_size": 64}})
	if err := adapter.Load(m, writePEFT(t, good, a, b)); err == nil || !strings.Contains(err.Error(), "does not fit this model") {
		t.Errorf("adapter of another model: %v", err)
	}
}

// delta is the update of one module, [In, Out].
func delta(u adapter.Update) []float32 {
	out := make([]float32, u.In*u.Out)
	for i := range u.In {
		for o := range u.Out {
			for r := range u.Rank {
				out[i*u.Out+o] += u.Scale * u.A[i*u.Rank+r] * u.B[r*u.Out+o]
			}
		}
	}
	return out
}

func TestMergeLoRA(t *testing.T) {
	t.Parallel()
	one := adapter.Update{Module: "m", In: 2, Out: 3, Rank: 1, A: []float32{1, 2}, B: []float32{3, 4, 5}, Scale: 2}
	two := adapter.Update{Module: "m", In: 2, Out: 3, Rank: 2, A: []float32{1, 0, 0, 1}, B: []float32{1, 0, 0, 0, 1, 0}, Scale: 8}
	other := adapter.Update{Module: "n", In: 1, Out: 1, Rank: 1, A: []float32{1}, B: []float32{1}, Scale: 3}
	sum, err := adapter.Merge([]*adapter.Adapter{{Updates: []adapter.Update{one}}, {Updates: []adapter.Update{two, other}}}, []float32{1, 0.5})
	if err != nil {
		t.Fatal(err)
	}
	// 2·[1;2][3 4 5] + 4·[1 0 0; 0 1 0]
	want := map[string][]float32{"m": {10, 8, 10, 12, 20, 20}, "n": {1.5}}
	got := map[string][]float32{}
	for range 2 { // the second time with one rank and scale for all
		for _, u := range sum.Updates {
			got[u.Module] = delta(u)
		}
		if !maps.EqualFunc(got, want, slices.Equal[[]float32]) {
			t.Errorf("merged to %v, want %v", got, want)
		}
		if rank, _ := sum.Uniform(); rank != 3 {
			t.Errorf("rank %d, want 3", rank)
		}
	}
	wide := one
	wide.Out = 4
	if _, err := adapter.Merge([]*adapter.Adapter{{Updates: []adapter.Update{one}}, {Updates: []adapter.Update{wide}}}, []float32{1, 1}); err == nil {
		t.Error("adapters of different models were merged")
	}
	dora := one
	dora.Magnitude = []float32{1, 2, 3}
	if _, err := adapter.Merge([]*adapter.Adapter{{Updates: []adapter.Update{one}}, {Updates: []adapter.Update{dora}}}, []float32{1, 1}); err == nil || !strings.Contains(err.Error(), "adapter 2 of 2 is a DoRA") {
		t.Errorf("a DoRA was merged: %v", err)
	}
}

// FuzzPEFTConfig: whatever adapter_config.json says, what is read can be written
// and read again, or there is an error.
func FuzzPEFTConfig(f *testing.F) {
	f.Add(`{"peft_type": "LORA", "r": 2, "lora_alpha": 8}`)
	f.Add(`{"peft_type": "LORA", "lora_alpha": -1e308, "use_rslora": true, "alpha_pattern": {"q_proj": 0}}`)
	f.Fuzz(func(t *testing.T, config string) {
		const h = modeltest.Hidden
		dir := writePEFT(t, config, make([]float32, 2*h), make([]float32, 2*h))
		f, err := adapter.Read(dir)
		if err != nil {
			return
		}
		out := filepath.Join(t.TempDir(), "out")
		if err := f.WriteMLX(out); err != nil {
			return
		}
		if _, err := adapter.Read(out); err != nil {
			t.Fatal(err)
		}
	})
}

// ggufAdapter is a file of llama.cpp's with an update of layer 0's q_proj.
func ggufAdapter(t testing.TB, metadata map[string]any, more ...weights.GGUFEntry) string {
	t.Helper()
	const h, rank = modeltest.Hidden, 2
	m := map[string]any{"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": float32(6)}
	maps.Copy(m, metadata)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	entry := func(name string, of func(i int) float32, shape ...int) weights.GGUFEntry {
		values := make([]float32, shape[0]*shape[1])
		for i := range values {
			values[i] = of(i)
		}
		data := make([]byte, 4*len(values))
		quant.PutFloats(data, values, quant.F32)
		return weights.GGUFEntry{Name: name, Type: weights.GGUFType{DType: quant.F32}, Shape: shape, Bytes: func() ([]byte, error) { return data, nil }}
	}
	path := filepath.Join(t.TempDir(), "adapter.gguf")
	if err := weights.WriteGGUF(path, m, append([]weights.GGUFEntry{
		entry("blk.0.attn_q.weight.lora_a", func(i int) float32 { return float32(i) }, rank, h),
		entry("blk.0.attn_q.weight.lora_b", func(i int) float32 { return float32(i / rank) }, h, rank), // the number of the row
	}, more...)); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestReadGGUFAdapter: which number is where, for models with rows in pairs and for others.
func TestReadGGUFAdapter(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	// 4 heads of 8 rows: in pairs the second half's first row is number 1.
	for _, test := range []struct {
		architecture, model string
		traditional         bool
		rows                []float32 // 0, 1, 4, 5 of the first head
		alpha, scale        any
	}{
		{"llama", "llama", false, []float32{0, 2, 1, 3}, nil, float32(3)},
		{"llama", "mistral", false, []float32{0, 2, 1, 3}, float32(0), float32(1)},
		{"llama", "llama", true, []float32{0, 1, 4, 5}, nil, float32(3)},
		{"qwen2", "qwen2", false, []float32{0, 1, 4, 5}, nil, float32(3)},
	} {
		metadata := map[string]any{"general.architecture": test.architecture}
		if test.alpha != nil {
			metadata["adapter.lora.alpha"] = test.alpha
		}
		path := ggufAdapter(t, metadata)
		f, err := adapter.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		if test.architecture == "llama" {
			if err := f.WritePEFT(t.TempDir()); fault.SettingOf(err) != "model" {
				t.Errorf("written without its model: %v", err)
			}
		}
		m := modeltest.Load(t, dev, modeltest.Spec{Type: test.model, Config: map[string]any{"rope_traditional": test.traditional}})
		if err := f.FitTo(m.Config); err != nil {
			t.Fatal(err)
		}
		u := f.Updates[0]
		if u.Scale != test.scale || u.A[5*2+1] != modeltest.Hidden+5 {
			t.Errorf("%s in %s: scale %v, A %v", test.architecture, test.model, u.Scale, u.A[5*2+1])
		}
		for i, row := range []int{0, 1, 4, 5} {
			if got := u.B[modeltest.Hidden+row]; got != test.rows[i] {
				t.Errorf("%s in %s: row %d of B is the file's %v, want %v", test.architecture, test.model, row, got, test.rows[i])
			}
		}
		if err := adapter.Load(m, path); err != nil || len(m.Adapted()) != 1 {
			t.Errorf("loaded: %v", err)
		}
	}
	m := modeltest.Load(t, dev, modeltest.Spec{Type: "llama"})
	plain := weights.GGUFEntry{Name: "output_norm.weight", Type: weights.GGUFType{DType: quant.F32}, Shape: []int{1}, Bytes: func() ([]byte, error) { return make([]byte, 4), nil }}
	strange, embedding := plain, plain
	strange.Name, embedding.Name = "blk.0.attn_z.weight.lora_a", "token_embd.weight.lora_a"
	for want, path := range map[string]string{
		"no LoRA adapter":     ggufAdapter(t, map[string]any{"general.type": "model"}),
		"adapter.lora.alpha":  ggufAdapter(t, map[string]any{"adapter.lora.alpha": nil}),
		`architecture "gpt2"`: ggufAdapter(t, map[string]any{"general.architecture": "gpt2"}),
		`"qwen2"`:             ggufAdapter(t, map[string]any{"general.architecture": "qwen2"}),
		"no part of a LoRA":   ggufAdapter(t, nil, plain),
		"attn_z":              ggufAdapter(t, nil, strange),
		"token_embd":          ggufAdapter(t, nil, embedding),
	} {
		if err := adapter.Load(m, path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("error %v, want %q and the file", err, want)
		}
	}
}
