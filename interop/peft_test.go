package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
)

// peftJob is one task of peer/peft_peer.py.
type peftJob struct {
	Model    string         `json:"model"`
	Adapter  string         `json:"adapter"`
	Tokens   []int32        `json:"tokens"`
	Logits   string         `json:"logits,omitempty"`
	Kind     string         `json:"kind,omitempty"`
	Settings map[string]any `json:"settings,omitempty"`
}

var peftTokens = []int32{1, 17, 200, 3, 99, 42, 42, 250, 8, 131, 77}

// runPEFT runs all jobs in one process, or skips the test without torch and PEFT:
// they are large, and LENTIL_TORCH names the virtual environment that has them.
func runPEFT(t *testing.T, jobs []peftJob) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs a peer, which takes long")
	}
	venv := os.Getenv("LENTIL_TORCH")
	if venv == "" {
		t.Skip("peer PEFT is missing: set LENTIL_TORCH to a virtual environment with torch, transformers and peft")
	}
	cmd := exec.Command(filepath.Join(venv, "bin", "python"), "peer/peft_peer.py", writeJSON(t, "jobs.json", jobs))
	cmd.Env = append(os.Environ(), "HF_HUB_OFFLINE=1", "TRANSFORMERS_VERBOSITY=error")
	command(t, cmd)
}

// samePEFT compares logits with those of a job, and with the base's, from which
// they have to be far.
func samePEFT(t *testing.T, m *model.Model, job peftJob) {
	t.Helper()
	want := readArrays(t, job.Logits)["logits"].values
	got, base := forward(t, m, peftTokens), forward(t, open(t, job.Model, ""), peftTokens)
	vocab := m.Config.VocabSize
	width := float64(slices.Max(want) - slices.Min(want))
	worst, row := furthest(got, want, vocab)
	t.Logf("logits within %.1e of their range", worst/width)
	if len(want) != len(peftTokens)*vocab || !(worst <= width*tolerance) {
		t.Errorf("logits of token %d differ by %.3g from PEFT's, allowed %.3g", row, worst, width*tolerance)
	}
	if change, _ := furthest(got, base, vocab); change < 100*width*tolerance {
		t.Errorf("the adapter moves logits by %.3g only: too little to tell", change)
	}
}

// TestAdapterInPEFT: adapters of Lentil's give the same logits in PEFT, for each family.
func TestAdapterInPEFT(t *testing.T) {
	t.Parallel()
	var jobs []peftJob
	var models []*model.Model
	var names []string
	for _, kind := range []string{"lora", "dora"} {
		for _, name := range []string{"llama", "llama-bias", "mistral", "qwen2", "qwen3", "smollm3"} {
			job := peftJob{Model: "testdata/models/" + name, Tokens: peftTokens, Adapter: filepath.Join(t.TempDir(), "peft"), Logits: filepath.Join(t.TempDir(), "logits")}
			m := open(t, job.Model, "")
			ours := randomAdapter(t, m, kind, 6, 3)
			lentil(t, "adapters", "convert", ours, "--to", "peft", "--save-path", job.Adapter)
			models, names = append(models, m), append(names, kind+" "+name)
			jobs = append(jobs, job)
		}
	}
	runPEFT(t, jobs)
	for i, job := range jobs {
		t.Run(names[i], func(t *testing.T) { samePEFT(t, models[i], job) })
	}
}

// randomAdapter puts random LoRAs or DoRAs beside all projections of m, and saves them
// in a folder.
func randomAdapter(t *testing.T, m *model.Model, kind string, rank int, scale float32) string {
	t.Helper()
	if _, err := adapter.New(m, adapter.Config{Rank: rank, Scale: scale, DoRA: kind == "dora"}, compute.NewKey(0)); err != nil {
		t.Fatal(err)
	}
	modeltest.Shake(t, m, 0.1)
	dir := t.TempDir()
	if err := adapter.Save(m, dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// peftAdapters are settings of PEFT's that Lentil takes.
var peftAdapters = map[string]struct {
	model    string
	settings map[string]any
}{
	"alpha over r":      {"llama", map[string]any{"r": 4, "lora_alpha": 10, "target_modules": []string{"q_proj", "v_proj"}}},
	"rank-stable":       {"qwen2", map[string]any{"r": 9, "lora_alpha": 6, "use_rslora": true, "target_modules": []string{"k_proj", "o_proj"}}},
	"all-linear":        {"mistral", map[string]any{"r": 3, "lora_alpha": 6, "target_modules": "all-linear"}},
	"expression":        {"smollm3", map[string]any{"r": 2, "lora_alpha": 8, "target_modules": `.*\.[02]\.mlp\.(up|down)_proj`}},
	"some layers":       {"qwen3", map[string]any{"r": 4, "lora_alpha": 8, "target_modules": []string{"gate_proj"}, "layers_to_transform": []int{1}}},
	"head":              {"llama", map[string]any{"r": 4, "lora_alpha": 8, "target_modules": []string{"lm_head", "q_proj"}}},
	"fan_in":            {"llama", map[string]any{"r": 4, "lora_alpha": 8, "target_modules": []string{"q_proj", "up_proj"}, "fan_in_fan_out": true}},
	"DoRA":              {"llama-bias", map[string]any{"r": 4, "lora_alpha": 8, "use_dora": true, "target_modules": []string{"q_proj", "down_proj", "o_proj"}}},
	"DoRA, rank-stable": {"qwen3", map[string]any{"r": 3, "lora_alpha": 5, "use_dora": true, "use_rslora": true, "target_modules": "all-linear"}},
	"biased layers":     {"llama-bias", map[string]any{"r": 4, "lora_alpha": 8, "lora_dropout": 0.5, "target_modules": []string{"q_proj", "down_proj"}}},
	"patterns": {"llama", map[string]any{
		"r": 4, "lora_alpha": 8, "target_modules": []string{"q_proj", "v_proj", "down_proj"},
		"rank_pattern":  map[string]any{"model.layers.0.self_attn.q_proj": 7, "down_proj": 2},
		"alpha_pattern": map[string]any{`layers\.1\.self_attn\..*`: 3, "v_proj": 20},
	}},
}

// TestAdapterOfPEFT: adapters that PEFT saves give the same logits in Lentil.
func TestAdapterOfPEFT(t *testing.T) {
	t.Parallel()
	jobs := map[string]peftJob{}
	var list []peftJob
	for name, c := range peftAdapters {
		job := peftJob{
			Model: "testdata/models/" + c.model, Settings: c.settings, Tokens: peftTokens,
			Adapter: t.TempDir(), Logits: filepath.Join(t.TempDir(), "logits"),
		}
		jobs[name] = job
		list = append(list, job)
	}
	runPEFT(t, list)
	for name, job := range jobs {
		t.Run(name, func(t *testing.T) {
			samePEFT(t, open(t, job.Model, job.Adapter), job)
			back := filepath.Join(t.TempDir(), "mlx")
			lentil(t, "adapters", "convert", job.Adapter, "--to", "mlx", "--save-path", back)
			samePEFT(t, open(t, job.Model, back), job)
		})
	}
}

// peftRefused are settings that change more than projections; the error names what.
var peftRefused = map[string]struct {
	model, kind string
	settings    map[string]any
	want        string
}{
	"LoHa":            {"llama", "LoHaConfig", map[string]any{"target_modules": []string{"q_proj"}}, `peft_type is "LOHA"`},
	"IA3":             {"llama", "IA3Config", map[string]any{"target_modules": []string{"k_proj", "down_proj"}, "feedforward_modules": []string{"down_proj"}}, `peft_type is "IA3"`},
	"whole modules":   {"llama", "", map[string]any{"target_modules": []string{"q_proj"}, "modules_to_save": []string{"lm_head"}}, `modules_to_save is ["lm_head"]`},
	"biases":          {"llama-bias", "", map[string]any{"target_modules": []string{"q_proj"}, "bias": "lora_only"}, `bias is "lora_only"`},
	"biases of LoRA":  {"llama-bias", "", map[string]any{"target_modules": []string{"q_proj"}, "lora_bias": true}, "lora_bias is true"},
	"embedding":       {"llama", "", map[string]any{"target_modules": []string{"embed_tokens"}}, "lora_embedding_A"},
	"tokens":          {"llama", "", map[string]any{"target_modules": []string{"q_proj"}, "trainable_token_indices": []int{3, 5}}, "trainable_token_indices is [3,5]"},
	"repeated layers": {"llama", "", map[string]any{"target_modules": []string{"q_proj"}, "layer_replication": [][]int{{0, 2}, {1, 2}}}, "layer_replication is"},
	"PiSSA":           {"llama", "", map[string]any{"target_modules": []string{"q_proj"}, "init_lora_weights": "pissa"}, `init_lora_weights is "pissa"`},
	"OLoRA":           {"llama", "", map[string]any{"target_modules": []string{"q_proj"}, "init_lora_weights": "olora"}, `init_lora_weights is "olora"`},
}

// TestRefusedOfPEFT: what Lentil cannot compute is named, not left out.
func TestRefusedOfPEFT(t *testing.T) {
	t.Parallel()
	jobs := map[string]peftJob{}
	var list []peftJob
	for name, c := range peftRefused {
		jobs[name] = peftJob{Model: "testdata/models/" + c.model, Kind: c.kind, Settings: c.settings, Adapter: t.TempDir()}
		list = append(list, jobs[name])
	}
	runPEFT(t, list)
	for name, job := range jobs {
		err := adapter.Load(open(t, job.Model, ""), job.Adapter)
		if err == nil || !strings.Contains(err.Error(), peftRefused[name].want) || !strings.Contains(err.Error(), job.Adapter) {
			t.Errorf("%s: error %v, want %q and the folder", name, err, peftRefused[name].want)
		}
	}
}
