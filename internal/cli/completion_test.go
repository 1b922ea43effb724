package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// offered is what a shell is told for the last of args.
func offered(t *testing.T, args ...string) []string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(mustRun(t, "", append([]string{"__complete"}, args...)...)), "\n")
	return lines[:len(lines)-1] // the last one says how to go on
}

// TestChoices: each flag with a few values offers them, its help names them, and each is known.
func TestChoices(t *testing.T) {
	seen := map[string]bool{}
	var visit func(cmd *cobra.Command, path []string)
	visit = func(cmd *cobra.Command, path []string) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			want, ok := choices[f.Name]
			if !ok {
				return
			}
			seen[f.Name] = true
			if got := offered(t, append(slices.Clone(path), "--"+f.Name, "")...); !slices.Equal(got, want) {
				t.Errorf("%v --%s offers %q, want %q", path, f.Name, got, want)
			}
			for _, value := range want {
				if !strings.Contains(f.Usage, value) {
					t.Errorf("%v: the help of --%s does not name %s", path, f.Name, value)
				}
			}
		})
		for _, c := range cmd.Commands() {
			visit(c, append(slices.Clone(path), c.Name()))
		}
	}
	visit(newRoot(Streams{}), nil)
	for name := range choices {
		if !seen[name] {
			t.Errorf("no command has a flag --%s", name)
		}
	}
	for _, name := range slices.Concat(folders, models) {
		if _, both := choices[name]; both {
			t.Errorf("--%s is of two kinds", name)
		}
	}
	// What is offered for training is accepted.
	for _, name := range []string{"optimizer", "fine-tune-type", "compat"} {
		for _, value := range choices[name] {
			if _, _, err := parseLoRA(t, "train", "--"+name, value); err != nil {
				t.Errorf("--%s %s: %v", name, value, err)
			}
		}
	}
}

// TestCompleteModel offers models at hand: cached ones, folders and GGUF files, and the way to them.
func TestCompleteModel(t *testing.T) {
	s := testHub(t)
	model, _ := tinyModel(t)
	s.Add("org/tiny", filesOf(t, model))
	s.Add("org/half", map[string][]byte{"config.json": []byte("{}")})
	mustRun(t, "", "download", "org/tiny")
	mustRun(t, "", "download", "org/half")
	t.Chdir(t.TempDir())
	for _, name := range []string{"lentils/config.json", "shelf/a.gguf", "shelf/notes.txt", ".hidden/config.json", "readme.txt"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for typed, want := range map[string][]string{
		"": {"lentils", "shelf/", "org/tiny"}, "le": {"lentils"}, "shelf/": {"shelf/a.gguf"}, "org/": {"org/tiny"}, "x": nil, ".h": {".hidden"},
	} {
		got := offered(t, "generate", "--model", typed)
		if len(got) == 1 && got[0] == "" {
			got = nil
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
}
