package interop

import (
	"encoding/json"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/weights"
)

// configCases are configs whose meaning depends on a rule of transformers: windows that
// layer_types does not tell of, and settings of rotary scaling that are left out or combined.
func configCases() map[string]modeltest.Spec {
	with := func(more map[string]any) map[string]any {
		config := map[string]any{"num_hidden_layers": 4, "max_position_embeddings": 64, "vocab_size": 520, "tie_word_embeddings": true}
		maps.Copy(config, more)
		return config
	}
	rope := func(more map[string]any) map[string]any {
		scaling := map[string]any{"rope_type": "yarn", "factor": 4.0}
		maps.Copy(scaling, more)
		return with(map[string]any{"rope_scaling": scaling})
	}
	moe := map[string]any{"head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "norm_topk_prob": true, "sliding_window": 6}
	slidingMoE := maps.Clone(moe)
	slidingMoE["use_sliding_window"], slidingMoE["max_window_layers"] = true, 3
	return map[string]modeltest.Spec{
		"mistral":                {Type: "mistral", Config: with(map[string]any{"sliding_window": 6})},
		"mistral, null":          {Type: "mistral", Config: with(map[string]any{"sliding_window": json.RawMessage("null")})},
		"mistral, layer types":   {Type: "mistral", Config: with(map[string]any{"sliding_window": 6, "layer_types": []string{"full_attention", "sliding_attention", "full_attention", "full_attention"}})},
		"mistral, default":       {Type: "mistral", Config: with(nil)},
		"mixtral":                {Type: "mixtral", Config: with(map[string]any{"num_local_experts": 4, "sliding_window": 6})},
		"qwen2":                  {Type: "qwen2", Config: with(map[string]any{"sliding_window": 6, "use_sliding_window": true, "max_window_layers": 2})},
		"qwen2, not used":        {Type: "qwen2", Config: with(map[string]any{"sliding_window": 6, "max_window_layers": 2})},
		"qwen3":                  {Type: "qwen3", Config: with(map[string]any{"head_dim": 16, "sliding_window": 6, "use_sliding_window": true, "max_window_layers": 1})},
		"qwen3, beyond":          {Type: "qwen3", Config: with(map[string]any{"head_dim": 16, "sliding_window": 6, "use_sliding_window": true})},
		"qwen3_moe":              {Type: "qwen3_moe", Config: with(slidingMoE)},
		"qwen3_moe, not used":    {Type: "qwen3_moe", Config: with(moe)},
		"smollm3":                {Type: "smollm3", Config: with(map[string]any{"sliding_window": 6, "use_sliding_window": true})},
		"smollm3, not used":      {Type: "smollm3", Config: with(map[string]any{"sliding_window": 6})},
		"yarn":                   {Type: "llama", Config: rope(map[string]any{"original_max_position_embeddings": 16})},
		"yarn, no original":      {Type: "llama", Config: rope(nil)},
		"yarn, betas":            {Type: "qwen2", Config: rope(map[string]any{"original_max_position_embeddings": 512, "beta_fast": 16.0, "beta_slow": 2.0})},
		"yarn, not truncated":    {Type: "qwen2", Config: rope(map[string]any{"original_max_position_embeddings": 512, "truncate": false})},
		"yarn, attention factor": {Type: "qwen2", Config: rope(map[string]any{"original_max_position_embeddings": 16, "attention_factor": 1.5, "mscale": 2.0})},
		"yarn, mscale":           {Type: "qwen2", Config: rope(map[string]any{"original_max_position_embeddings": 16, "mscale": 2.0})},
		"yarn, mscales":          {Type: "qwen2", Config: rope(map[string]any{"original_max_position_embeddings": 16, "mscale": 2.0, "mscale_all_dim": 0.5})},
		"yarn, all_dim":          {Type: "qwen2", Config: rope(map[string]any{"original_max_position_embeddings": 16, "mscale_all_dim": 0.5})},
		"yarn, no factor":        {Type: "llama", Config: rope(map[string]any{"original_max_position_embeddings": 16, "factor": json.RawMessage("null")})},
		"yarn, base of its own":  {Type: "llama", Config: rope(map[string]any{"original_max_position_embeddings": 16, "rope_theta": 500.0})},
		"original outside": {Type: "llama", Config: with(map[string]any{"original_max_position_embeddings": 16,
			"rope_scaling": map[string]any{"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}})},
		"original only outside": {Type: "llama", Config: with(map[string]any{"original_max_position_embeddings": 16,
			"rope_scaling": map[string]any{"rope_type": "yarn", "factor": 4.0}})},
		"llama3, no original": {Type: "llama", Config: rope(map[string]any{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0})},
		"longrope": {Type: "llama", Config: rope(map[string]any{"rope_type": "longrope", "original_max_position_embeddings": 16, "attention_factor": 1.25,
			"short_factor": []float64{1, 1, 1, 1}, "long_factor": []float64{1, 2, 3, 4}})},
		"longrope, factor": {Type: "llama", Config: rope(map[string]any{"rope_type": "longrope", "original_max_position_embeddings": 16, "factor": 8.0,
			"short_factor": []float64{1, 1, 1, 1}, "long_factor": []float64{1, 2, 3, 4}})},
		"linear": {Type: "mistral", Config: rope(map[string]any{"rope_type": "linear"})},
	}
}

type referenceJob struct {
	Model string  `json:"model"`
	IDs   []int32 `json:"ids"`
	Out   string  `json:"out"`
}

// referenceTokens are more than windows and original contexts of the cases.
var referenceTokens = modeltest.Sequence(40)

// TestConfigsOfTransformers compares logits and windows with a decoder in float64 whose
// configs and rotary tables are transformers' own.
func TestConfigsOfTransformers(t *testing.T) {
	need(t, "mlx-lm")
	cases := configCases()
	names := slices.Sorted(maps.Keys(cases))
	var jobs []referenceJob
	for _, name := range names {
		jobs = append(jobs, referenceJob{modeltest.Write(t, cases[name]), referenceTokens, filepath.Join(t.TempDir(), "logits")})
	}
	var windows [][]int
	cmd := exec.Command("../.interop/venv/bin/python", "peer/reference.py", writeJSON(t, "jobs.json", jobs))
	if err := json.Unmarshal([]byte(command(t, cmd)), &windows); err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		t.Run(name, func(t *testing.T) {
			m := open(t, jobs[i].Model, "")
			a, err := m.Config.Architecture()
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(a.Windows, windows[i]) {
				t.Errorf("windows %v, transformers has %v", a.Windows, windows[i])
			}
			asReference(t, m, readArrays(t, jobs[i].Out)["logits"].values)
		})
	}
}

// TestConfigsOfMLX compares the same models, opened as mlx-lm runs them, with mlx-lm.
func TestConfigsOfMLX(t *testing.T) {
	need(t, "mlx-lm")
	cases := configCases()
	delete(cases, "yarn, no factor") // an error in mlx-lm
	names := slices.Sorted(maps.Keys(cases))
	var jobs []referenceJob
	for _, name := range names {
		spec := cases[name]
		if spec.Type == "qwen3_moe" { // mlx-lm needs them
			spec.Config["mlp_only_layers"], spec.Config["decoder_sparse_step"] = []int{}, 1
		}
		jobs = append(jobs, referenceJob{withTokenizer(t, spec), referenceTokens, filepath.Join(t.TempDir(), "logits.safetensors")})
	}
	var done []referenceJob
	mlx(t, &done, "jobs", writeJSON(t, "jobs.json", jobs))
	for i, name := range names {
		t.Run(name, func(t *testing.T) {
			asReference(t, openAsMLX(t, jobs[i].Model), readArrays(t, jobs[i].Out)["logits"].values)
		})
	}
}

// openAsMLX is open for a model as mlx-lm runs it.
func openAsMLX(t *testing.T, dir string) *model.Model {
	t.Helper()
	src, err := weights.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	as, err := model.AsMLX(src)
	if err != nil {
		t.Fatal(err)
	}
	dev, err := device()
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.Load(dev, as)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Free)
	return m
}

func asReference(t *testing.T, m *model.Model, want []float32) {
	t.Helper()
	width := float64(slices.Max(want) - slices.Min(want))
	worst, row := furthest(forward(t, m, referenceTokens), want, m.Config.VocabSize)
	if !(worst <= width*tolerance) {
		t.Errorf("logits of token %d differ by %.3g, allowed %.3g", row, worst, width*tolerance)
	}
}
