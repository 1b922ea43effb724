package cli

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/bench"
	"github.com/lentil-lm/lentil/export"
	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/train"
)

// choices are the values of flags that take one of a few, for completion. The help of each flag names them, too.
var choices = map[string][]string{
	"optimizer": train.Optimizers, "fine-tune-type": {"lora", "dora", "full"}, "compat": {"mlx"}, "repo-type": {"model", "dataset", "space"},
	"q-bits": {"2", "3", "4", "5", "6", "8"}, "q-group-size": {"32", "64", "128"}, "q-mode": {"affine", "mxfp4", "nvfp4", "mxfp8"}, "q-rule": {"metal", "cpu"},
	"quant-predicate": export.Recipes(), "quant": {"auto"}, "dtype": {"float16", "bfloat16", "float32"},
	"gguf":    {"F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q4_K_M", "Q5_K_M", "Q6_K"},
	"kv-bits": {"2", "3", "4", "5", "6", "8"}, "kv-group-size": {"32", "64", "128"}, "to": {"mlx", "peft", "gguf"}, "shape": bench.ShapeNames(),
}

// folders and models are flags that take the name of a folder, and of a model.
var (
	folders = []string{"adapter-path", "save-path", "mlx-path", "local-dir", "cache-dir", "dir", "path"}
	models  = []string{"model", "hf-path", "draft-model"}
)

// completeFlags tells shells what may follow the flags of cmd and of the commands below it.
func completeFlags(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if complete := completionOf(f); complete != nil {
			if err := cmd.RegisterFlagCompletionFunc(f.Name, complete); err != nil {
				panic(err) // each flag is visited once
			}
		}
	})
	for _, c := range cmd.Commands() {
		completeFlags(c)
	}
}

func completionOf(f *pflag.Flag) cobra.CompletionFunc {
	of, few := choices[f.Name]
	switch kind := f.Value.Type(); {
	case few:
		return cobra.FixedCompletions(of, cobra.ShellCompDirectiveNoFileComp)
	case slices.Contains(models, f.Name):
		return completeModel
	case slices.Contains(folders, f.Name):
		return cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
	case f.Name == "config":
		return cobra.FixedCompletions([]string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt)
	case kind == "int" || kind == "int64" || kind == "float64":
		return cobra.NoFileCompletions
	}
	return nil // files
}

// completeModel offers the models that are at hand: those in the hub's cache, folders with a config.json and GGUF files,
// and the folders on the way to them.
func completeModel(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	dir, begun := filepath.Split(typed)
	directive := cobra.ShellCompDirectiveNoFileComp
	var found []string
	entries, _ := os.ReadDir(cmp.Or(dir, ".")) // nothing to offer where there is no folder
	for _, e := range entries {
		path := dir + e.Name()
		info, err := os.Stat(path)
		if err != nil || !strings.HasPrefix(e.Name(), begun) || begun == "" && strings.HasPrefix(e.Name(), ".") {
			continue
		}
		_, err = os.Stat(filepath.Join(path, "config.json"))
		switch {
		case info.IsDir() && err == nil, !info.IsDir() && filepath.Ext(path) == ".gguf":
			found = append(found, path)
		case info.IsDir():
			found = append(found, path+string(filepath.Separator))
			directive |= cobra.ShellCompDirectiveNoSpace // the name goes on
		}
	}
	for _, id := range cachedModels() {
		if strings.HasPrefix(id, typed) {
			found = append(found, id)
		}
	}
	return found, directive
}

// cachedModels lists the models in the hub's cache that have weights; none where it cannot be read.
func cachedModels() (ids []string) {
	cache, err := scanCache("")
	if err != nil {
		return nil
	}
	for _, r := range cache.Repos {
		if r.Repo.Type == hub.Model && slices.ContainsFunc(r.Revisions, hasWeights) {
			ids = append(ids, r.Repo.ID)
		}
	}
	return ids
}

func hasWeights(rev hub.CachedRevision) bool {
	return slices.ContainsFunc(rev.Files, func(f hub.CachedFile) bool { return filepath.Ext(f.Path) == ".safetensors" })
}
