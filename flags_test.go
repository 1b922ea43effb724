package lentil_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// flagWord is a command-line flag within a text.
var flagWord = regexp.MustCompile(`(^|[^-\w])--[a-z]`)

// withFlags lists, by package, file or text, what may name flags, and why.
var withFlags = map[string]string{
	"internal/cli": "the shell is where flags are known",
	"interop":      "runs the commands of peers",
	"demo/gen":     "a command of its own, with its own flags",
	"hub/card.go":  "a model card shows commands to type",
	"this is one of %v parts of a split model; join them with: llama-gguf-split --merge": "llama.cpp's command",
}

// mayNameFlags tells whether a text of a file is on the list.
func mayNameFlags(path, text string) bool {
	for p := filepath.ToSlash(path); p != "."; p = filepath.ToSlash(filepath.Dir(p)) {
		if withFlags[p] != "" {
			return true
		}
	}
	return withFlags[text] != ""
}

// TestFlags holds packages below the shell to naming settings (see package fault) and never flags,
// which a server's client or another program does not have.
func TestFlags(t *testing.T) {
	files, used := 0, map[string]bool{}
	err := filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && path != "." && (strings.HasPrefix(e.Name(), ".") || e.Name() == "testdata"):
			return fs.SkipDir
		case e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		files++
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(lit.Value)
			if err == nil && flagWord.MatchString(text) && !mayNameFlags(path, text) {
				t.Errorf("%s: %s names a flag: name the setting, with fault.Setting", fset.Position(lit.Pos()), lit.Value)
			}
			used[text] = true
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 100 {
		t.Fatalf("only %d files were read", files)
	}
	for what := range withFlags {
		if strings.Contains(what, " ") && !used[what] {
			t.Errorf("the list has %q, which nobody says", what)
		}
	}
}

func TestFlagWord(t *testing.T) {
	for text, want := range map[string]bool{
		"--model": true, "give --max-kv-size": true, "a cache (--exact)": true, "x\n--all": true,
		"models--org--name": false, "---\ntitle: x\n---": false, "a -- b": false, "-- ": false, "<!--": false,
	} {
		if got := flagWord.MatchString(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	for path, want := range map[string]bool{"internal/cli/lora.go": true, "hub/card.go": true, "hub/path.go": false, "demo/gen/main.go": true, "demo/demo.go": false} {
		if got := mayNameFlags(path, "--x"); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}
