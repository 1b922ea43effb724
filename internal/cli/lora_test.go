package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// parseLoRA runs a command line of lora, train or test as far as the options.
func parseLoRA(t *testing.T, args ...string) (o *loraOptions, stderr string, err error) {
	t.Helper()
	var out, errOut bytes.Buffer
	streams := Streams{In: strings.NewReader(""), Out: &out, Err: &errOut}
	root := newRoot(streams)
	for _, c := range root.Commands() {
		if slices.Contains([]string{"lora", "train", "test"}, c.Name()) {
			root.RemoveCommand(c)
		}
	}
	keep := func(_ context.Context, _ Streams, got *loraOptions) error { o = got; return nil }
	for _, name := range []string{"lora", "train", "test"} {
		root.AddCommand(newLoRA(streams, name, keep))
	}
	err = execute(t.Context(), root, args)
	return o, errOut.String(), err
}

func mustParseLoRA(t *testing.T, args ...string) *loraOptions {
	t.Helper()
	o, _, err := parseLoRA(t, args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return o
}

func TestLoRADefaultsAreThoseOfMLX(t *testing.T) {
	t.Parallel()
	got := mustParseLoRA(t, "lora", "--train")
	want := newLoRAOptions()
	want.declare(&cobra.Command{})
	want.Train = true
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	// The keys and values that mlx-lm writes for a run without options.
	const wantConfig = `{
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
	if config := pythonJSON(got.adapterConfig()); config != wantConfig {
		t.Errorf("adapter_config.json:\n%s", config)
	}
}

func TestLoRAHabitsOfArgparse(t *testing.T) {
	t.Parallel()
	o := mustParseLoRA(t, "lora", "--train", "--iter", "5", "--adapter=a b", "--lea", "2e-5", "--num_layers", "-1", "--val-b=-1", "--mask", "--data", "--odd")
	if o.Iters != 5 || o.AdapterPath != "a b" || o.LearningRate != 2e-5 || o.NumLayers != -1 || o.ValBatches != -1 || !o.MaskPrompt || o.Data != "--odd" {
		t.Errorf("got %+v", o)
	}
	if o := mustParseLoRA(t, "train"); !o.Train || o.Test {
		t.Error("train is not lora --train")
	}
	if o := mustParseLoRA(t, "test", "--adapter-path", ""); o.Train || !o.Test || o.AdapterPath != "" {
		t.Error("test is not lora --test")
	}
}

func TestLoRAMistakes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"lora"}, "Must provide at least one of --train or --test\n"},
		{[]string{"lora", "--tr"}, "--tr could be --trust-remote-code or --train or --train-embeddings\n"},
		{[]string{"lora", "--s", "1"}, "--s could be "},
		{[]string{"train", "--fine-tune-type", "lroa"}, "--fine-tune-type \"lroa\": expected lora, dora, full\nDid you mean: --fine-tune-type lora"},
		{[]string{"train", "--optimizer", "lion"}, "--optimizer \"lion\": expected adam, "},
		{[]string{"train", "--compat", "peft"}, "--compat \"peft\": "},
		{[]string{"train", "--iters", "0"}, "--iters 0: must be at least 1"},
		{[]string{"train", "--learning-rate", "-1"}, "--learning-rate -1: "},
		{[]string{"train", "--train-embeddings"}, "--train-embeddings goes with --fine-tune-type full"},
		{[]string{"train", "-c", "no.yaml"}, "config: stat no.yaml"},
	} {
		_, _, err := parseLoRA(t, c.args...)
		if exitCode(err) != ExitUsage || !strings.HasPrefix(errorText(err), "lentil: "+c.want) {
			t.Errorf("%v: %v\nwant %q", c.args, err, c.want)
		}
	}
}

func TestYAMLPrecedence(t *testing.T) {
	t.Parallel()
	config := writeFile(t, "c.yaml", `
# a comment
model: "some/model"
train: yes
iters: 50
learning_rate: 1e-4
batch_size: 2
val_batches: null
seed: 1e3
trust_remote_code: true
clear_cache_threshold: 7
data: "yes"
train_embeddings: off
lr_schedule:
  name: cosine_decay
  warmup: 10
  arguments: [1e-5, 900, 1.0e-6]
lora_parameters: {keys: ["self_attn.q_proj"], rank: 16, scale: 10.0, dropout: 0.1}
optimizer_config:
  adamw: {betas: [0.9, 0.98], eps: 1e-6}
`)
	o, stderr, err := parseLoRA(t, "lora", "-c", config, "--iters", "60", "--batch-size", "4")
	if err != nil || stderr != "" {
		t.Fatalf("%v, stderr %q", err, stderr)
	}
	want := newLoRAOptions()
	want.declare(&cobra.Command{})
	want.Config, want.Model, want.Train, want.Data = config, "some/model", true, "yes"
	want.Iters, want.BatchSize = 60, 4 // flags, though batch-size is given its default
	want.LearningRate, want.Seed, want.ClearCache, want.TrustRemoteCode = 1e-4, 1000, 7, true
	want.LRSchedule = dict{{"name", "cosine_decay"}, {"warmup", uint64(10)}, {"arguments", []any{1e-5, uint64(900), 1e-6}}}
	want.LoRAParameters = dict{{"keys", []any{"self_attn.q_proj"}}, {"rank", uint64(16)}, {"scale", 10.0}, {"dropout", .1}}
	want.OptimizerConfig = dict{{"adamw", dict{{"betas", []any{.9, .98}}, {"eps", 1e-6}}}}
	if !reflect.DeepEqual(o, want) {
		t.Errorf("got  %+v\nwant %+v", o, want)
	}
}

func TestYAMLUnknownKeysAreKept(t *testing.T) {
	t.Parallel()
	config := writeFile(t, "c.yaml", "iters: 3\nlearning_rat: 1e-4\nprompt_feature: question\nzz: [1, {a: null}]\n")
	o, stderr, err := parseLoRA(t, "train", "-c", config)
	if err != nil {
		t.Fatal(err)
	}
	want := "Warning: " + config + ":2: unknown key learning_rat is kept but does nothing; did you mean learning_rate?\n" +
		"Warning: " + config + ":4: unknown key zz is kept but does nothing\n"
	if stderr != want {
		t.Errorf("warnings:\n%swant\n%s", stderr, want)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(pythonJSON(o.adapterConfig())), &got); err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]any{"learning_rat": 1e-4, "prompt_feature": "question", "iters": 3.0, "zz": []any{1.0, map[string]any{"a": nil}}} {
		if !reflect.DeepEqual(got[key], value) {
			t.Errorf("adapter_config.json: %s is %v, want %v", key, got[key], value)
		}
	}
}

func TestYAMLMistakes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"iters: many":                      `:1: iters: expected a whole number, found "many"`,
		"\nlearning_rate: [1]":             ":2: learning_rate: expected a number, found a list",
		"train: 1":                         ":1: train: expected true or false, found 1",
		"iters: 1.5":                       ":1: iters: expected a whole number, found 1.5",
		"model: 5":                         ":1: model: expected a text, found 5",
		"iters: 1\niters: 2":               ":2: ",
		"a: [1":                            ":1: ",
		"- 1":                              ":1: expected lines of the form key: value",
		"a: *b":                            ":1: ",
		"lr_schedule: cosine":              ":1: lr_schedule: expected a mapping",
		"\n\nlora_parameters: {rank: 4}":   ":3: lora_parameters has no dropout\nA lora_parameters in the config",
		"a: 1\n---\nb: 2":                  ":3: a second document",
		"a: 1\n---":                        ":2: a second document",
		"-\r---":                           ":2: a second document",
		"a: !!python/object:os.system x":   ":1: the tag",
		strings.Repeat("#", 1<<20) + "\n ": ": 1048578 bytes is too large",
	} {
		config := writeFile(t, "c.yaml", text)
		_, _, err := parseLoRA(t, "train", "-c", config)
		if exitCode(err) != ExitUsage || !strings.HasPrefix(err.Error(), config+want) {
			t.Errorf("%.40q: %v\nwant %q", text, err, want)
		}
	}
}

func TestYAMLAliases(t *testing.T) {
	t.Parallel()
	settings, err := parseYAML([]byte("a: &x {k: 1, l: 2}\nb: *x\nc: {<<: *x, k: 3}\nd: |\n  text\ne: 'no'\nf: .inf\n"))
	if err != nil {
		t.Fatal(err)
	}
	x := dict{{"k", uint64(1)}, {"l", uint64(2)}}
	for i, want := range []any{x, x, dict{{"k", uint64(3)}, {"l", uint64(2)}}, "text\n", "no"} {
		if !reflect.DeepEqual(settings[i].value, want) {
			t.Errorf("%s: %v, want %v", settings[i].key, settings[i].value, want)
		}
	}
	bomb := "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n"
	for i := 1; i < 9; i++ {
		ref := strings.Repeat("*a"+string(rune('0'+i-1))+",", 10)
		bomb += "a" + string(rune('0'+i)) + ": &a" + string(rune('0'+i)) + " [" + strings.TrimSuffix(ref, ",") + "]\n"
	}
	if _, err := parseYAML([]byte(bomb)); err == nil || !strings.Contains(err.Error(), "too many values") {
		t.Errorf("alias bomb: %v", err)
	}
}

func FuzzYAML(f *testing.F) {
	for _, seed := range []string{"a: 1e-5\nb: [1, {c: ~}]\n", "x: &a {k: 1}\ny: {<<: *a}\n", "- a", "a: |\n  b\n", "a: !!int 3", "? a\n: b"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		settings, err := parseYAML(text)
		if err != nil {
			return
		}
		for _, s := range settings {
			if !json.Valid([]byte(strings.NewReplacer("NaN", "0", "-Infinity", "0", "Infinity", "0").Replace(pythonJSON(s.value)))) {
				t.Errorf("%q: not JSON: %s", text, pythonJSON(s.value))
			}
		}
	})
}

func TestPythonJSON(t *testing.T) {
	t.Parallel()
	// What Python 3's json.dumps(value, indent=4) gives.
	for _, c := range []struct {
		value any
		want  string
	}{
		{1e-5, "1e-05"}, {0.0001, "0.0001"}, {20.0, "20.0"}, {1e16, "1e+16"}, {123456789012345680.0, "1.2345678901234568e+17"}, {0.1, "0.1"}, {-0.0, "0.0"},
		{1e15, "1000000000000000.0"}, {1.5e-7, "1.5e-07"}, {2e-300, "2e-300"},
		{"é\n\"\\\u007f\u2028😀", `"\u00e9\n\"\\` + "\x7f" + `\u2028\ud83d\ude00"`},
		{dict{}, "{}"}, {[]any{}, "[]"}, {nil, "null"}, {true, "true"},
		{[]any{int64(1), dict{{"b", nil}, {"a", "x"}}}, "[\n    1,\n    {\n        \"b\": null,\n        \"a\": \"x\"\n    }\n]"},
	} {
		if got := pythonJSON(c.value); got != c.want {
			t.Errorf("%v: got %s, want %s", c.value, got, c.want)
		}
	}
}
