package cli

import (
	"bytes"
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/train"
	"github.com/lentil-lm/lentil/tune"
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
	want := &loraOptions{Recipe: tune.New(), lora: tune.New().LoRA, given: map[string]bool{"train": true}}
	want.Train = true
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

// TestSettingsHaveFlags: what a recipe can be told there is a flag for, but for what is no single value.
func TestSettingsHaveFlags(t *testing.T) {
	t.Parallel()
	cmd := &cobra.Command{}
	new(loraOptions).declare(cmd)
	known := tune.Settings()
	for _, name := range known {
		flag := cmd.Flags().Lookup(strings.ReplaceAll(name, "_", "-"))
		if (flag == nil) != slices.Contains(configOnly, name) {
			t.Errorf("%s: has a flag: %v, and is for configs alone: %v", name, flag != nil, flag == nil)
		}
	}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if name := strings.ReplaceAll(f.Name, "-", "_"); name != "json" && name != "overwrite" && name != "resume" && name != "epochs" && !slices.Contains(loraFlags, name) && !slices.Contains(known, name) {
			t.Errorf("--%s is no setting of a recipe", f.Name)
		}
	})
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
		{[]string{"lora", "--tr"}, "--tr could be --trust-remote-code or --train or --train-mode or --train-embeddings\n"},
		{[]string{"lora", "--s", "1"}, "--s could be "},
		{[]string{"train", "--fine-tune-type", "lroa"}, "--fine-tune-type lroa: expected lora, dora or full\nDid you mean: --fine-tune-type lora"},
		{[]string{"train", "--optimizer", "lion"}, "--optimizer lion: expected adam, "},
		{[]string{"train", "--compat", "peft"}, "--compat peft: "},
		{[]string{"train", "--iters", "0"}, "--iters 0: expected 1 or more"},
		{[]string{"train", "--learning-rate", "-1"}, "--learning-rate -1: "},
		{[]string{"train", "--train-embeddings"}, "--train-embeddings goes with --fine-tune-type full"},
		{[]string{"train", "--rank", "0"}, "--rank 0: expected 1 or more"},
		{[]string{"train", "--scale", "NaN"}, "--scale NaN: expected a finite number"},
		{[]string{"train", "--rank", "4", "--fine-tune-type", "full"}, "--rank goes with --fine-tune-type lora or dora, not full"},
		{[]string{"train", "--lora-layers", "8"}, "unknown flag --lora-layers\nIt is --num-layers here.\n"},
		{[]string{"train", "--lora_rank=8"}, "unknown flag --lora_rank\nIt is --rank here.\n"},
		{[]string{"train", "--alpha", "16"}, "unknown flag --alpha\nIt is --scale here, alpha divided by the rank.\n"},
		{[]string{"train", "--lr", "1e-4"}, "unknown flag --lr\nIt is --learning-rate here.\n"},
		{[]string{"generate", "--temperature", "1"}, "unknown flag --temperature\nIt is --temp here.\n"},
		{[]string{"train", "--temperature", "1"}, "unknown flag --temperature\nSee: "},
		{[]string{"fuse", "--de-quantize"}, "unknown flag --de-quantize\nIt is --dequantize here.\n"},
		{[]string{"train", "--epochs", "3", "--data", "org/name"}, "--epochs 3 is not known: as in mlx-lm, a run is counted in steps of --batch-size rows\nGive --iters: the rows"},
		{[]string{"train", "--beta", "0.3"}, "--beta goes with --train-mode dpo or orpo, not sft"},
		{[]string{"train", "--train-mode", "dpo", "--beta", "0"}, "--beta 0: expected a number above 0"},
		{[]string{"train", "--train-mode", "kto"}, "--train-mode kto: expected sft, dpo or orpo"},
		{[]string{"train", "-c", "no.yaml"}, "--config no.yaml: there is no such file\nGive a YAML file"},
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
	want := tune.New()
	want.Config, want.Model, want.Train, want.Data = config, "some/model", true, "yes"
	want.Iters, want.BatchSize = 60, 4 // flags, though batch-size is given its default
	want.LearningRate, want.Seed, want.ClearCacheThreshold, want.TrustRemoteCode = 1e-4, 1000, 7, true
	want.LRSchedule = &train.ScheduleConfig{Name: "cosine_decay", Warmup: 10, Arguments: []float64{1e-5, 900, 1e-6}}
	want.LoRA = tune.LoRA{Keys: []string{"self_attn.q_proj"}, Rank: 16, Scale: 10, Dropout: .1}
	got := o.Recipe
	for _, name := range []string{"lr_schedule", "lora_parameters", "optimizer_config"} {
		if err := want.Set(name, settingOf(t, config, name)); err != nil { // with the words of the config
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// settingOf reads one key of a config.
func settingOf(t *testing.T, path, name string) any {
	t.Helper()
	entries, err := readYAML(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Key == name {
			return e.Value
		}
	}
	t.Fatalf("%s has no %s", path, name)
	return nil
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
	if o.Iters != 3 || o.Features.Prompt != "question" {
		t.Errorf("%+v", o)
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
		strings.Repeat("#", 1<<20) + "\n ": ": 1048578 bytes, expected at most 1048576",
	} {
		config := writeFile(t, "c.yaml", text)
		_, _, err := parseLoRA(t, "train", "-c", config)
		if exitCode(err) != ExitUsage || !strings.HasPrefix(err.Error(), config+want) {
			t.Errorf("%.40q: %v\nwant %q", text, err, want)
		}
	}
}
