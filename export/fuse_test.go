package export_test

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cpu"
	"github.com/lentil-lm/lentil/export"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tensor"
	"github.com/lentil-lm/lentil/weights"
)

const (
	// exactTolerance is for weights in float32: x·(W+Δ) against x·W + x·Δ.
	exactTolerance = 1e-4
	// roundedTolerance is for weights rounded to 8 bits of mantissa, or to 8-bit
	// groups: relative errors of 1/256 in each product, over a few layers.
	roundedTolerance = 0.05
	// againTolerance is for weights rounded to 4 or 5 bits a second time: errors
	// of about 1/16 in each of them.
	againTolerance = 0.35
)

func newCPU(t *testing.T) *cpu.Device {
	t.Helper()
	dev, err := cpu.New(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.(*cpu.Device).Close() })
	return dev.(*cpu.Device)
}

var tokens = []int32{5, 9, 40, 2, 17, 5, 33, 21, 30}

func logits(t *testing.T, m *model.Model) []float32 {
	t.Helper()
	tape := tensor.NewTape(m.Device())
	tape.Exact = true
	var out []float32
	tape.Scope(func() *tensor.Tensor {
		x, pass := m.Begin(tape, model.Sequence(tokens, 0), nil)
		out = tape.Read(m.Logits(tape, m.Final(tape, m.Layers(tape, x, pass, 0, len(m.Blocks), false))))
		return nil
	})
	if err := tape.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// distance is the norm of the difference over that of want.
func distance(got, want []float32) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	var d, n float64
	for i := range want {
		d += math.Pow(float64(got[i]-want[i]), 2)
		n += math.Pow(float64(want[i]), 2)
	}
	return math.Sqrt(d / n)
}

// adapted is a model with a random LoRA of a size as training gives.
func adapted(t *testing.T, dev compute.Device, dir string, keys ...string) *model.Model {
	t.Helper()
	return adaptedBy(t, dev, dir, adapter.Config{Rank: 2, Scale: 2, Keys: keys})
}

// adaptedBy is a model with a random adapter.
func adaptedBy(t *testing.T, dev compute.Device, dir string, c adapter.Config) *model.Model {
	t.Helper()
	m := modeltest.Open(t, dev, dir)
	if _, err := adapter.New(m, c, compute.NewKey(0)); err != nil {
		t.Fatal(err)
	}
	modeltest.Shake(t, m, 0.05)
	return m
}

func fuse(t *testing.T, m *model.Model, o export.FuseOptions) export.FuseReport {
	t.Helper()
	if o.SavePath == "" {
		o.SavePath = filepath.Join(t.TempDir(), "fused")
	}
	report, err := export.Fuse(m, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func readConfig(t *testing.T, dir string) (config map[string]any, text string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	return config, string(data)
}

func TestFusedEqualsAdapter(t *testing.T) {
	t.Parallel()
	t.Run("LoRA", func(t *testing.T) { testFused(t, adapter.Config{Rank: 2, Scale: 2}) })
	t.Run("DoRA", func(t *testing.T) { testFused(t, adapter.Config{Rank: 2, Scale: 2, DoRA: true}) })
}

func testFused(t *testing.T, c adapter.Config) {
	dev := newCPU(t)
	for _, spec := range modeltest.Architectures() {
		if c.DoRA && modeltest.HasExperts(spec) {
			continue // there is none of experts
		}
		for _, test := range []struct {
			name      string
			dtype     quant.DType
			bits      int
			o         export.FuseOptions
			tolerance float64
			quantized bool
		}{
			{"float32", quant.F32, 0, export.FuseOptions{}, exactTolerance, false},
			{"bfloat16", quant.BF16, 0, export.FuseOptions{}, roundedTolerance, false},
			{"8-bit", quant.F32, 8, export.FuseOptions{KeepBits: true}, roundedTolerance, true},
			{"4-bit raised", quant.F32, 4, export.FuseOptions{}, againTolerance, true},
			{"4-bit dequantized", quant.F32, 4, export.FuseOptions{Dequantize: true}, exactTolerance, false},
		} {
			spec.DType, spec.Bits = test.dtype, test.bits
			m := adaptedBy(t, dev, modeltest.Write(t, spec), c)
			report := fuse(t, m, test.o)
			fused := modeltest.Open(t, dev, report.Path)
			if d := distance(logits(t, fused), logits(t, m)); d > test.tolerance {
				t.Errorf("%s, %s: logits of the fused model are off by %g", spec.Type, test.name, d)
			}
			if _, has := mapOf(t, report.Path)["quantization"]; has != test.quantized {
				t.Errorf("%s, %s: config has quantization: %v", spec.Type, test.name, has)
			}
			if n := len(report.Layers); n != len(m.Adapted()) || n < 14 {
				t.Errorf("%s, %s: %d layers in the report, %d have an adapter", spec.Type, test.name, n, len(m.Adapted()))
			}
			if test.name != "8-bit" && (report.Survival < export.EnoughSurvival || report.Survival > 1) {
				t.Errorf("%s, %s: survival %g", spec.Type, test.name, report.Survival)
			}
			fused.Free()
			m.Free()
		}
	}
}

func mapOf(t *testing.T, dir string) map[string]any {
	t.Helper()
	config, _ := readConfig(t, dir)
	return config
}

// TestSurvival recomputes the report's figures from the files.
func TestSurvival(t *testing.T) {
	t.Parallel()
	bases := map[string]string{"3-bit": modeltest.Write(t, modeltest.Spec{Type: "qwen2", Bits: 3})}
	for _, mode := range []string{"mxfp4", "nvfp4"} {
		bases[mode], _ = convert(t, modeltest.Write(t, modeltest.Spec{Type: "qwen2"}), export.ConvertOptions{Quantize: true, Mode: mode})
	}
	for name, dir := range bases {
		t.Run(name, func(t *testing.T) { testSurvival(t, dir, adapter.Config{Rank: 2, Scale: 2}) })
	}
	t.Run("DoRA", func(t *testing.T) { testSurvival(t, bases["3-bit"], adapter.Config{Rank: 2, Scale: 2, DoRA: true}) })
}

func testSurvival(t *testing.T, dir string, c adapter.Config) {
	const tolerance = 1e-6 // float64 sums of the same float32 values
	dev := newCPU(t)
	m := adaptedBy(t, dev, dir, c)
	kept := fuse(t, m, export.FuseOptions{KeepBits: true})
	raised := fuse(t, m, export.FuseOptions{})
	for _, report := range []export.FuseReport{kept, raised} {
		src, err := weights.Open(report.Path)
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		var inner, all float64
		for _, l := range report.Layers {
			base, err1 := m.Source().Matrix(l.Module)
			now, err2 := src.Matrix(l.Module)
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			if base.Format.String() != l.From || now.Format.String() != l.To {
				t.Errorf("%s: from %v to %v, the report says %s to %s", l.Module, base.Format, now.Format, l.From, l.To)
			}
			delta := update(t, m, l.Module)
			var dot, square float64
			was, is := base.Floats(), now.Floats()
			for i, d := range delta {
				dot += float64(is[i]-was[i]) * float64(d)
				square += float64(d) * float64(d)
			}
			share := min(max(dot/square, 0), 1)
			if !(math.Abs(share-l.Survival) <= tolerance) {
				t.Errorf("%s: survival %g, the report says %g", l.Module, share, l.Survival)
			}
			inner, all = inner+share*square, all+square
		}
		if !(math.Abs(inner/all-report.Survival) <= tolerance) {
			t.Errorf("overall survival %g, the report says %g", inner/all, report.Survival)
		}
	}
	if kept.Raised != 0 || raised.Raised == 0 || !(raised.Survival > kept.Survival) || !(math.Abs(raised.AtBase-kept.Survival) <= tolerance) {
		t.Errorf("kept bits: %g, %d raised; else %g, %d raised, at the base's bits %g", kept.Survival, kept.Raised, raised.Survival, raised.Raised, raised.AtBase)
	}
	for _, l := range raised.Layers {
		if l.Survival < export.EnoughSurvival {
			t.Errorf("%s keeps %g in %s", l.Module, l.Survival, l.To)
		}
	}
	if worst, ok := kept.Worst(); !ok || slices.ContainsFunc(kept.Layers, func(l export.FusedLayer) bool { return l.Survival < worst.Survival }) {
		t.Errorf("worst layer %+v", worst)
	}
	if _, ok := (export.FuseReport{}).Worst(); ok {
		t.Error("an empty report has a worst layer")
	}
}

// update is what the adapter of a module adds to its weight: scale·(A B)ᵀ, or with
// a magnitude what takes the rows to their new directions and lengths.
func update(t *testing.T, m *model.Model, module string) []float32 {
	t.Helper()
	values := map[string][]float32{}
	shape := map[string]compute.Shape{}
	for _, p := range m.Trainable() {
		v, err := tensor.ReadFloats(m.Device(), p.Tensor)
		if err != nil {
			t.Fatal(err)
		}
		values[p.Name], shape[p.Name] = v, p.Shape()
	}
	a, b := values[module+".lora_a"], values[module+".lora_b"]
	in, rank, out := shape[module+".lora_a"][0], shape[module+".lora_a"][1], shape[module+".lora_b"][1]
	delta := make([]float32, out*in)
	for o := range out {
		for i := range in {
			var sum float64
			for r := range rank {
				sum += float64(a[i*rank+r]) * float64(b[r*out+o])
			}
			delta[o*in+i] = float32(2 * sum)
		}
	}
	magnitude, ok := values[module+".m"]
	if !ok {
		return delta
	}
	base := hostFloats(t, m, module)
	for o := range out {
		var square float64
		for i := range in {
			square += math.Pow(float64(base[o*in+i])+float64(delta[o*in+i]), 2)
		}
		for i := o * in; i < (o+1)*in; i++ {
			v := (float64(base[i]) + float64(delta[i])) * float64(magnitude[o]) / math.Sqrt(square)
			delta[i] = float32(v - float64(base[i]))
		}
	}
	return delta
}

func TestConfigs(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	extra := map[string]any{
		"rope_theta": json.Number("500000.0"), "_name_or_path": "secret/place", "transformers_version": "5.0", "tie_word_embeddings": false,
		"big": json.Number("9007199254740993"),
	}
	dir := modeltest.Write(t, modeltest.Spec{Type: "llama", Bits: 4, Config: extra})
	if err := os.WriteFile(filepath.Join(dir, "generation_config.json"), []byte(`{"eos_token_id": [1, 2]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	m := adapted(t, dev, dir, "mlp.up_proj", "lm_head")
	report := fuse(t, m, export.FuseOptions{})
	config, text := readConfig(t, report.Path)
	for _, part := range []string{`"rope_theta": 500000.0`, `"big": 9007199254740993`, `"transformers_version": "5.0"`} {
		if !strings.Contains(text, part) {
			t.Errorf("config.json has no %s:\n%s", part, text)
		}
	}
	if strings.Contains(text, "secret") {
		t.Error("config.json tells where the base was")
	}
	q := config["quantization"].(map[string]any)
	if again := config["quantization_config"].(map[string]any); len(again) != len(q) || q["bits"] != 4.0 || q["group_size"] != 32.0 || q["mode"] != "affine" {
		t.Errorf("quantization %v", q)
	}
	changed := map[string]bool{}
	for _, l := range report.Layers {
		if changed[l.Module] = true; l.From == l.To {
			t.Errorf("%s stays at %s", l.Module, l.To)
		}
		if setting, ok := q[l.Module].(map[string]any); strings.Contains(l.To, "-bit") && (!ok || !strings.HasPrefix(l.To, jsonNumber(setting["bits"])+"-bit")) {
			t.Errorf("%s is %s, config.json says %v", l.Module, l.To, q[l.Module])
		}
	}
	for key := range q {
		if strings.Contains(key, ".") && !changed[key] {
			t.Errorf("config.json has a setting for %s, which did not change", key)
		}
	}
	if !changed["lm_head"] || len(changed) != 3 {
		t.Errorf("layers %v", report.Layers)
	}
	for _, name := range []string{"generation_config.json", "README.md", "model.safetensors", "model.safetensors.index.json"} {
		if _, err := os.Stat(filepath.Join(report.Path, name)); err != nil {
			t.Error(err)
		}
	}

	// Fusing the fused model keeps the settings of its layers.
	second := fuse(t, adapted(t, dev, report.Path, "mlp.down_proj"), export.FuseOptions{KeepBits: true})
	again := mapOf(t, second.Path)["quantization"].(map[string]any)
	for key, setting := range q {
		if now, ok := again[key]; !ok || jsonText(t, now) != jsonText(t, setting) {
			t.Errorf("%s was %v and is %v", key, setting, now)
		}
	}
	var index struct {
		Metadata struct {
			Size  int64 `json:"total_size"`
			Count int64 `json:"total_parameters"`
		} `json:"metadata"`
	}
	data, err := os.ReadFile(filepath.Join(report.Path, "model.safetensors.index.json"))
	if err == nil {
		err = json.Unmarshal(data, &index)
	}
	if err != nil || index.Metadata.Count != report.Parameters || index.Metadata.Size != report.Bytes {
		t.Errorf("index %+v, %v; report %d parameters, %d bytes", index, err, report.Parameters, report.Bytes)
	}
}

func jsonNumber(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

func jsonText(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestFuseFullFineTuning(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	dir := modeltest.Write(t, modeltest.Spec{Type: "qwen3", DType: quant.BF16})
	trained := modeltest.Open(t, dev, dir)
	if err := trained.Unfreeze(-1, true); err != nil {
		t.Fatal(err)
	}
	modeltest.Shake(t, trained, 0.1)
	tuned := t.TempDir()
	if err := os.WriteFile(filepath.Join(tuned, adapter.ConfigFile), []byte(`{"fine_tune_type": "full"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := adapter.SaveWeights(trained, filepath.Join(tuned, adapter.File)); err != nil {
		t.Fatal(err)
	}
	m := modeltest.Open(t, dev, dir)
	if err := adapter.Load(m, tuned); err != nil {
		t.Fatal(err)
	}
	report := fuse(t, m, export.FuseOptions{})
	if got, want := logits(t, modeltest.Open(t, dev, report.Path)), logits(t, m); !slices.Equal(got, want) {
		t.Errorf("logits differ by %g", distance(got, want))
	}
	if report.Survival != 1 || len(report.Layers) != 0 {
		t.Errorf("report %+v", report)
	}
}

func TestRefusedTargets(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	dir := modeltest.Write(t, modeltest.Spec{Type: "llama"})
	m := adapted(t, dev, dir)
	read, foreign, nested := t.TempDir(), t.TempDir(), t.TempDir()
	for _, path := range []string{filepath.Join(foreign, "config.json"), filepath.Join(foreign, "thesis.docx"), filepath.Join(nested, "config.json")} {
		if err := os.WriteFile(path, []byte("{}"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(nested, "adapters"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ path, want string }{
		"empty":                    {"", "expected the folder to write the fused model to"},
		"the base":                 {dir, "is read"},
		"the base, in other words": {filepath.Join(dir, "..", filepath.Base(dir)), "is read"},
		"the adapter":              {read, "is read"},
		"other files":              {foreign, "thesis.docx"},
		"folders":                  {nested, "adapters"},
	} {
		_, err := export.Fuse(m, nil, export.FuseOptions{SavePath: test.path, AdapterPath: read})
		if fault.SettingOf(err) != "save_path" || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q of save_path", name, err, test.want)
		}
	}
	for _, path := range []string{filepath.Join(foreign, "thesis.docx"), filepath.Join(nested, "adapters"), filepath.Join(dir, "model.safetensors")} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

// TestTargetIsReplacedAtOnce looks at what is in the target's folder after a
// fusion, a second one, and one that fails.
func TestTargetIsReplacedAtOnce(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	m := adapted(t, dev, modeltest.Write(t, modeltest.Spec{Type: "llama", Bits: 4}))
	parent := t.TempDir()
	target := filepath.Join(parent, "fused")
	fuse(t, m, export.FuseOptions{SavePath: target})
	if err := os.WriteFile(filepath.Join(target, "tokenizer.json"), []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(target, "thesis.docx")
	if err := os.WriteFile(mine, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := export.Fuse(m, nil, export.FuseOptions{SavePath: target}); err == nil || !strings.Contains(err.Error(), "with thesis.docx, tokenizer.json in it") {
		t.Errorf("onto files that Lentil did not write: %v", err)
	}
	fuse(t, m, export.FuseOptions{SavePath: target, Dequantize: true, Overwrite: true})
	if text, err := os.ReadFile(mine); err != nil || string(text) != "mine" {
		t.Errorf("a file that is no part of a model: %q, %v", text, err)
	}
	if err := os.Remove(mine); err != nil {
		t.Fatal(err)
	}
	fuse(t, m, export.FuseOptions{SavePath: target, Dequantize: true}) // onto its own
	if _, err := os.Stat(filepath.Join(target, "tokenizer.json")); err == nil {
		t.Error("a file of the old model is in the new one")
	}
	before, err := os.ReadFile(filepath.Join(target, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	modeltest.Shake(t, m, float32(math.NaN()))
	for _, o := range []export.FuseOptions{{SavePath: target}, {SavePath: target, Dequantize: true}, {SavePath: filepath.Join(parent, "new")}} {
		if _, err := export.Fuse(m, nil, o); err == nil || !strings.Contains(err.Error(), "not finite") || !strings.Contains(err.Error(), "model.layers.0.") {
			t.Errorf("an adapter without numbers: %v", err)
		}
	}
	after, err := os.ReadFile(filepath.Join(target, "model.safetensors"))
	if err != nil || !slices.Equal(before, after) {
		t.Errorf("after a failed fusion the old model has changed: %v", err)
	}
	entries, err := os.ReadDir(parent)
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the model lie %v, %v", entries, err)
	}
}

// blocks is a source whose gate projections are Q4_K blocks.
type blocks struct {
	weights.Source
	gate *quant.Matrix
}

func (b blocks) Matrix(module string) (*quant.Matrix, error) {
	if strings.HasSuffix(module, "gate_proj") {
		return b.gate, nil
	}
	return b.Source.Matrix(module)
}

// TestFuseGGUFBlocks writes a base in blocks that MLX does not know.
func TestFuseGGUFBlocks(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	const rows, cols, blockBytes = modeltest.Inner, 256, 144
	random := rand.New(rand.NewPCG(8, 9))
	data := make([]byte, rows*blockBytes)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	for at := 0; at < len(data); at += blockBytes {
		binary.LittleEndian.PutUint16(data[at:], quant.F32ToF16(0.001))
		binary.LittleEndian.PutUint16(data[at+2:], quant.F32ToF16(0.004))
	}
	gate, err := quant.FromBlocks(quant.BlockQ4K, data, rows, cols)
	if err != nil {
		t.Fatal(err)
	}
	src, err := weights.Open(modeltest.Write(t, modeltest.Spec{Type: "llama", Config: map[string]any{"hidden_size": cols}}))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	m, err := model.Load(dev, blocks{src, gate})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := adapter.New(m, adapter.Config{Rank: 2, Scale: 2, NumLayers: 1}, compute.NewKey(0)); err != nil {
		t.Fatal(err)
	}
	modeltest.Shake(t, m, 0.02)
	want := logits(t, m)
	report := fuse(t, m, export.FuseOptions{})
	if d := distance(logits(t, modeltest.Open(t, dev, report.Path)), want); d > roundedTolerance {
		t.Errorf("logits are off by %g", d)
	}
	q, ok := mapOf(t, report.Path)["quantization"].(map[string]any)
	if !ok || q["group_size"] != 32.0 {
		t.Errorf("quantization %v", q)
	}
	dense := fuse(t, m, export.FuseOptions{Dequantize: true})
	if d := distance(logits(t, modeltest.Open(t, dev, dense.Path)), want); d > roundedTolerance {
		t.Errorf("dense: logits are off by %g", d)
	}
	if _, ok := mapOf(t, dense.Path)["quantization"]; ok {
		t.Error("a dense model has quantization in its config")
	}
	t.Logf("quantized again: off by %g; dense: by %g", distance(logits(t, modeltest.Open(t, dev, report.Path)), want), distance(logits(t, modeltest.Open(t, dev, dense.Path)), want))
}

// TestFuseUntrained: an adapter that changes nothing gives no layer more bits.
func TestFuseUntrained(t *testing.T) {
	t.Parallel()
	dir := modeltest.Write(t, modeltest.Spec{Type: "qwen2", Bits: 4, Config: map[string]any{"hidden_size": 256, "intermediate_size": 1024}})
	for _, dora := range []bool{false, true} {
		m := modeltest.Open(t, newCPU(t), dir)
		if _, err := adapter.New(m, adapter.Config{Rank: 2, Scale: 2, DoRA: dora}, compute.NewKey(0)); err != nil {
			t.Fatal(err)
		}
		report := fuse(t, m, export.FuseOptions{})
		if worst, _ := report.Worst(); report.Raised != 0 || report.Survival != 1 || worst.Survival != 1 {
			t.Errorf("DoRA %v: %d layers raised, survival %g, worst %+v", dora, report.Raised, report.Survival, worst)
		}
	}
}
