package tune

import (
	"errors"
	"maps"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/train"
)

// defaultConfig are the keys and values that mlx-lm writes for a run without options.
const defaultConfig = `{
    "adapter_path": "adapters",
    "batch_size": 4,
    "clear_cache_threshold": 0,
    "config": null,
    "data": "mlx-community/WikiSQL",
    "fine_tune_type": "lora",
    "grad_accumulation_steps": 1,
    "grad_checkpoint": false,
    "iters": 1000,
    "learning_rate": 1e-05,
    "lora_parameters": {
        "rank": 8,
        "dropout": 0.0,
        "scale": 20.0
    },
    "lr_schedule": null,
    "mask_prompt": false,
    "max_seq_length": 2048,
    "model": "Qwen/Qwen3-0.6B",
    "num_layers": 16,
    "optimizer": "adam",
    "optimizer_config": {
        "adam": {},
        "adamw": {},
        "muon": {},
        "sgd": {},
        "adafactor": {}
    },
    "project_name": null,
    "report_to": null,
    "resume_adapter_file": null,
    "save_every": 100,
    "seed": 0,
    "steps_per_eval": 200,
    "steps_per_report": 10,
    "test": false,
    "test_batches": 500,
    "train": true,
    "trust_remote_code": false,
    "val_batches": 25
}`

// configText is adapter_config.json of a recipe.
func configText(t *testing.T, r Recipe) string {
	t.Helper()
	d, err := r.config()
	if err != nil {
		t.Fatal(err)
	}
	text, err := jinja.DumpJSON(d, 4)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestConfigIsMLX(t *testing.T) {
	t.Parallel()
	r := New()
	r.Train = true
	if got := configText(t, r); got != defaultConfig {
		t.Errorf("adapter_config.json:\n%s", got)
	}
	r.FineTuneType = "full"
	if got := configText(t, r); !strings.Contains(got, `"lora_parameters": null`) {
		t.Errorf("full fine-tuning:\n%s", got)
	}
}

// dict makes a mapping of keys and values in turn.
func dict(members ...any) *jinja.Dict {
	d := jinja.NewDict()
	for i := 0; i < len(members); i += 2 {
		d.Set(members[i].(string), members[i+1])
	}
	return d
}

func set(t *testing.T, r *Recipe, members ...any) {
	t.Helper()
	d := dict(members...)
	for _, name := range d.Keys() {
		value, _ := d.Get(name)
		if err := r.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSetAll gives each setting that is a single value one of its kind, and finds it in what is written.
func TestSetAll(t *testing.T) {
	t.Parallel()
	r := New()
	for _, s := range r.settings() {
		var value jinja.Value
		switch s.field.(type) {
		case *string:
			value = "text of " + s.name
		case *bool:
			value = true
		case *float64:
			value = 0.25
		default:
			value = int64(17)
		}
		if err := r.Set(strings.ReplaceAll(s.name, "_", "-"), value); err != nil {
			t.Error(err)
		}
		if got := s.value(); got != value {
			t.Errorf("%s is %v, want %v", s.name, got, value)
		}
		d, err := r.config()
		if err != nil {
			t.Fatal(err)
		}
		got, there := d.Get(s.name)
		if there != (s.in != ours) || there && got != value {
			t.Errorf("adapter_config.json: %s is %v", s.name, got)
		}
		if all := r.all(d); all[s.name] != value {
			t.Errorf("run.json: %s is %v", s.name, all[s.name])
		}
		if err := r.Set(s.name, nil); err != nil || s.value() != value {
			t.Errorf("%s: null changes it to %v, %v", s.name, s.value(), err)
		}
		if err := r.Set(s.name, jinja.NewList()); err == nil || fault.SettingOf(err) != fault.Setting(s.name) {
			t.Errorf("%s: a list is taken: %v", s.name, err)
		}
		if !slices.Contains(Settings(), s.name) {
			t.Errorf("%s is not among the settings", s.name)
		}
	}
}

func TestSetMappings(t *testing.T) {
	t.Parallel()
	r := New()
	set(t, &r,
		"lora_parameters", dict("keys", jinja.NewList("self_attn.q_proj"), "rank", int64(16), "scale", int64(10), "dropout", .1),
		"lr_schedule", dict("name", "cosine_decay", "warmup", int64(10), "arguments", jinja.NewList(1e-5, int64(900))),
		"optimizer", "adamw", "optimizer_config", dict("adamw", dict("betas", jinja.NewList(.9, .98), "eps", 1e-6)),
		"hf_dataset", jinja.NewList(dict("name", "org/rows", "config", dict("name", "a", "data_files", "*.csv"), "valid_split", nil, "mask_prompt", true)),
		"hand_made", dict("b", nil, "a", int64(1)), "prompt_feature", nil)
	want := Recipe{
		LoRA:       LoRA{Rank: 16, Scale: 10, Dropout: .1, Keys: []string{"self_attn.q_proj"}},
		LRSchedule: &train.ScheduleConfig{Name: "cosine_decay", Warmup: 10, Arguments: []float64{1e-5, 900}},
		Sources:    []Source{{Path: "org/rows", Config: "a", Train: "train[:80%]", Valid: "train[-10%:]", Files: r.Sources[0].Files}},
	}
	if !reflect.DeepEqual(r.LoRA, want.LoRA) || !reflect.DeepEqual(r.LRSchedule, want.LRSchedule) || !reflect.DeepEqual(r.Sources, want.Sources) {
		t.Errorf("%+v", r)
	}
	if files, _ := r.Sources[0].Files.Files("train"); !slices.Equal(files, []string{"*.csv"}) {
		t.Errorf("files %v", r.Sources[0].Files)
	}
	c, err := r.optimizer()
	if err != nil || c.Name != "adamw" || c.Options["eps"] != 1e-6 {
		t.Errorf("%+v, %v", c, err)
	}
	d, _ := r.config()
	words := map[string]string{
		"lora_parameters":  `{"keys": ["self_attn.q_proj"], "rank": 16, "scale": 10, "dropout": 0.1}`,
		"lr_schedule":      `{"name": "cosine_decay", "warmup": 10, "arguments": [1e-05, 900]}`,
		"optimizer_config": `{"adamw": {"betas": [0.9, 0.98], "eps": 1e-06}}`,
		"hf_dataset":       `[{"name": "org/rows", "config": {"name": "a", "data_files": "*.csv"}, "valid_split": null, "mask_prompt": true}]`,
		"hand_made":        `{"b": null, "a": 1}`,
		"prompt_feature":   "null",
	}
	check := func(what string) {
		t.Helper()
		for name, want := range words {
			value, there := d.Get(name)
			if got, _ := jinja.DumpJSON(value, 0); got != want || !there {
				t.Errorf("%s: %s is %s, want %s", what, name, got, want)
			}
		}
		if !slices.IsSorted(d.Keys()) {
			t.Errorf("%s: keys in the order %v", what, d.Keys())
		}
	}
	check("as the config has it")

	// Settings changed after that are written as they are.
	r.LoRA.Rank, r.Sources[0].Valid, r.OptimizerOptions = 4, "valid", map[string]any{"eps": 1e-3}
	r.LRSchedule = &train.ScheduleConfig{Name: "exponential_decay", Arguments: []float64{1, .5}}
	d, _ = r.config()
	words["lora_parameters"] = `{"rank": 4, "dropout": 0.1, "scale": 10.0, "keys": ["self_attn.q_proj"]}`
	words["lr_schedule"] = `{"name": "exponential_decay", "arguments": [1.0, 0.5], "warmup": 0, "warmup_init": 0.0}`
	words["optimizer_config"] = `{"adam": {}, "adamw": {"eps": 0.001}, "muon": {}, "sgd": {}, "adafactor": {}}`
	words["hf_dataset"] = `[{"path": "org/rows", "config": {"name": "a", "data_files": {"train": ["*.csv"]}}, "train_split": "train[:80%]", "valid_split": "valid"}]`
	check("changed")
	again, err := readSources(must(d.Get("hf_dataset")))
	if err != nil || !reflect.DeepEqual(again, r.Sources) {
		t.Errorf("the sources read back are %+v, %v", again, err)
	}
}

func must(value jinja.Value, _ bool) jinja.Value { return value }

func TestRecipesAreCopied(t *testing.T) {
	t.Parallel()
	first := New()
	set(t, &first, "a", int64(1))
	second := first
	set(t, &second, "a", int64(2), "b", int64(3))
	if d, _ := first.config(); d.Len() != strings.Count(defaultConfig, "\n    \"")+1 || must(d.Get("a")) != int64(1) {
		t.Errorf("the first has become %v", d.Keys())
	}
}

func TestSetMistakes(t *testing.T) {
	t.Parallel()
	list := jinja.NewList
	for _, c := range []struct {
		name  string
		value jinja.Value
		want  string
	}{
		{"iters", "many", `iters: expected a whole number, found "many"`}, {"iters", 1.5, "iters: expected a whole number, found 1.5"},
		{"iters", new(big.Int).Lsh(big.NewInt(1), 70), "iters: expected a whole number, found 1180591620717411303424"}, {"seed", math.Inf(1), "seed: expected a whole"},
		{"learning_rate", list(int64(1)), "learning_rate: expected a number, found a list"}, {"train", int64(1), "train: expected true or false, found 1"},
		{"model", int64(5), "model: expected a text, found 5"}, {"lr_schedule", "cosine", "lr_schedule: expected a mapping, found \"cosine\""},
		{"lora_parameters", dict("rank", int64(4)), "lora_parameters has no dropout\nA lora_parameters in the config replaces the built-in one: give rank, dropout and scale."},
		{"lora_parameters", dict("rank", int64(4), "dropout", 0., "scale", 1., "alpha", 2.), "lora_parameters: unknown key alpha; known are rank, dropout, scale, keys"},
		{"lora_parameters", dict("rank", nil, "dropout", 0., "scale", 1.), "lora_parameters: rank: expected a whole number, found nothing"},
		{"lora_parameters", dict("rank", int64(4), "dropout", 0., "scale", 1., "keys", list(int64(1))), "lora_parameters: keys: expected a text, found 1"},
		{"lr_schedule", dict("arguments", int64(1)), "lr_schedule: arguments: expected a list of numbers, found 1"},
		{"hf_dataset", "a/b", `hf_dataset: expected a mapping with path, or a list of such, found "a/b"`}, {"hf_dataset", list(), "hf_dataset: the list is empty"},
		{"hf_dataset", dict("train_split", "train"), "hf_dataset: there is no path"}, {"hf_dataset", dict("path", "a/b", "train_split", "train[5]"), `hf_dataset: "train[5]" is not understood`},
		{"hf_dataset", list(dict("path", "a/b"), dict("path", "a/b", "config", dict("data_files", list(dict("split", "x"))))), "hf_dataset: entry 2: config: data_files: expected split, a text, and path in each mapping"},
		{"hf_dataset", dict("path", "a/b", "config", dict("data_files", dict("x", dict()))), "hf_dataset: config: data_files: expected a name, a list of names, or names by split, found a mapping"},
		{"hf_dataset", dict("path", "a/b", "config", dict("data_files", list(dict("split", "x", "path", "a"), dict("split", "x", "path", "b")))), "hf_dataset: config: data_files: the split x is there twice"},
	} {
		r := New()
		err := r.Set(c.name, c.value)
		if !reflect.DeepEqual(r, New()) {
			t.Errorf("%s: a mistake has changed the recipe to %+v", c.name, r)
		}
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || !errors.As(err, new(*fault.Mistake)) {
			t.Errorf("%s: %v\nwant %s", c.name, err, c.want)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*Recipe){
		"": func(*Recipe) {},
		"nothing to do: neither train nor test is set":                                        func(r *Recipe) { r.Train = false },
		"adapter_path is empty\nGive the folder":                                              func(r *Recipe) { r.AdapterPath = "" },
		"fine_tune_type lroa: expected lora, dora or full\nDid you mean: fine_tune_type lora": func(r *Recipe) { r.FineTuneType = "lroa" },
		"optimizer lion: expected adam, adamw, muon, sgd or adafactor":                        func(r *Recipe) { r.Optimizer = "lion" },
		`compat peft: expected "" or mlx`:                                                     func(r *Recipe) { r.Compat = "peft" },
		"iters 0: expected 1 or more":                                                         func(r *Recipe) { r.Iters = 0 },
		"grad_accumulation_steps -1: expected 1 or more":                                      func(r *Recipe) { r.GradAccumulation = -1 },
		"learning_rate NaN: expected 0 or more":                                               func(r *Recipe) { r.LearningRate = math.NaN() },
		"train_embeddings goes with fine_tune_type full, not lora":                            func(r *Recipe) { r.TrainEmbeddings = true },
		"lora_parameters.rank 0: expected 1 or more":                                          func(r *Recipe) { r.LoRA.Rank = 0 },
		"lora_parameters.scale +Inf: expected a finite number":                                func(r *Recipe) { r.LoRA.Scale = math.Inf(1) },
		"lora_parameters.dropout 1: expected 0 or more and less than 1":                       func(r *Recipe) { r.LoRA.Dropout = 1 },
		"lr_schedule: name is \"\"":                                                           func(r *Recipe) { r.LRSchedule = &train.ScheduleConfig{} },
		"optimizer_config: adam: takes no momentum":                                           func(r *Recipe) { r.OptimizerOptions = map[string]any{"momentum": .9} },
		"optimizer_config: adam: expected a mapping, found 3":                                 func(r *Recipe) { set(t, r, "optimizer_config", dict("adam", int64(3))) },
		"hf_dataset: there is no path":                                                        func(r *Recipe) { r.Sources = []Source{{}} },
		"hf_dataset: org/x: there is no test_split, which test needs\nGive one": func(r *Recipe) {
			r.Sources, r.Test = []Source{{Path: "org/x", Train: "train"}}, true
		},
	} {
		r := New()
		r.Train = true
		change(&r)
		err := r.Check()
		if (err == nil) != (want == "") || err != nil && (!strings.HasPrefix(err.Error(), want) || !errors.As(err, new(*fault.Mistake))) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
}

// TestSettingsAreNamedOnce guards the table.
func TestSettingsAreNamedOnce(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for _, name := range Settings() {
		seen[name]++
	}
	if n := len(seen); n != len(Settings()) {
		t.Errorf("%d names, %d different: %v", len(Settings()), n, slices.Sorted(maps.Keys(seen)))
	}
}
