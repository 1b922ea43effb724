package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/tune"
)

// TestLoRAFlags: the members of lora_parameters have flags, which win over the config's
// one by one.
func TestLoRAFlags(t *testing.T) {
	t.Parallel()
	config := writeFile(t, "c.yaml", "lora_parameters: {rank: 16, scale: 10.0, dropout: 0.1, keys: [mlp.up_proj]}\nnum_layers: 4\niters: null\n")
	for _, c := range []struct {
		args []string
		want tune.LoRA
	}{
		{nil, tune.LoRA{Rank: 8, Scale: 20}},
		{[]string{"--rank", "4", "--scale", "2.5", "--dropout", "0.05", "--keys", "self_attn.q_proj", "self_attn.v_proj", "--iters", "3"},
			tune.LoRA{Rank: 4, Scale: 2.5, Dropout: 0.05, Keys: []string{"self_attn.q_proj", "self_attn.v_proj"}}},
		{[]string{"-c", config}, tune.LoRA{Rank: 16, Scale: 10, Dropout: 0.1, Keys: []string{"mlp.up_proj"}}},
		{[]string{"-c", config, "--rank", "8"}, tune.LoRA{Rank: 8, Scale: 10, Dropout: 0.1, Keys: []string{"mlp.up_proj"}}},
	} {
		if got := mustParseLoRA(t, append([]string{"train"}, c.args...)...).LoRA; !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: %+v, want %+v", c.args, got, c.want)
		}
	}
	got := mustParseLoRA(t, "train", "-c", config, "--rank", "8").given
	for name, want := range map[string]bool{"rank": true, "num_layers": true, "iters": false, "max_seq_length": false} {
		if got[name] != want {
			t.Errorf("%s: given is %v", name, got[name])
		}
	}
}

// TestEpochs: who counts in passes over the data is told the steps.
func TestEpochs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "train.jsonl"), []byte(strings.Repeat("{\"text\": \"a\"}\n", 10)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args  []string
		iters int
	}{
		{[]string{"--epochs", "3"}, 9}, {[]string{"--num-train-epochs", "1", "--batch-size", "10"}, 1}, {[]string{"--epochs=0.5", "--batch-size", "2"}, 3},
		{[]string{"--epochs", "3", "--compat", "mlx"}, 6},
	} {
		_, _, err := parseLoRA(t, append([]string{"train", "--data", dir}, c.args...)...)
		want := fmt.Sprintf("\nGive --iters %d: ", c.iters)
		if exitCode(err) != ExitUsage || !strings.Contains(errorText(err), want) || !strings.Contains(errorText(err), "passes over the 10 rows of "+dir) {
			t.Errorf("%v: %v\nwant %q", c.args, err, want)
		}
	}
}

// TestOtherNamesInConfigs: keys of other tools and older versions lead to ours.
func TestOtherNamesInConfigs(t *testing.T) {
	t.Parallel()
	config := writeFile(t, "c.yaml", "rank: 16\nlora_layers: 4\nlora_alpha: 32\nepochs: 3\noverwrite: true\n")
	_, stderr, err := parseLoRA(t, "train", "-c", config)
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for i, text := range []string{
		"rank is kept but does nothing; write lora_parameters: {rank: 8, scale: 20.0, dropout: 0.0}, with your rank",
		"lora_layers is kept but does nothing; it is num_layers here",
		"lora_alpha is kept but does nothing; write lora_parameters: {rank: 8, scale: 20.0, dropout: 0.0}, with your scale, alpha divided by the rank",
		"epochs is kept but does nothing; give iters: the rows of the data divided by batch_size, times the passes over them",
		"overwrite is kept but does nothing; give --overwrite with the command",
	} {
		fmt.Fprintf(&want, "Warning: %s:%d: unknown key %s\n", config, i+1, text)
	}
	if stderr != want.String() {
		t.Errorf("warnings:\n%swant\n%s", stderr, want.String())
	}
}

// TestOtherNamesAreFlags: each name that the table leads to is a flag of some command.
func TestOtherNamesAreFlags(t *testing.T) {
	t.Parallel()
	root := newRoot(Streams{In: strings.NewReader(""), Out: new(strings.Builder), Err: new(strings.Builder)})
	for old, other := range otherNames {
		found := false
		for _, c := range root.Commands() {
			found = found || c.Flags().Lookup(other.flag) != nil
		}
		if !found {
			t.Errorf("--%s leads to --%s, which no command has", old, other.flag)
		}
	}
}

// TestFlagsInConfigs: the help says that a config has any of the flags but a few.
func TestFlagsInConfigs(t *testing.T) {
	t.Parallel()
	root := newRoot(Streams{In: strings.NewReader(""), Out: new(strings.Builder), Err: new(strings.Builder)})
	cmd, _, err := root.Find([]string{"lora"})
	if err != nil {
		t.Fatal(err)
	}
	apart := slices.Concat(loraFlags, flagsAlone, []string{"config", "help", "epochs"})
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && !slices.Contains(tune.Settings(), strings.ReplaceAll(f.Name, "-", "_")) && !slices.Contains(apart, f.Name) {
			t.Errorf("--%s cannot stand in a config", f.Name)
		}
	})
}
