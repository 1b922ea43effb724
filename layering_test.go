// Package lentil_test holds the tests of the project as a whole.
package lentil_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/lentil-lm/lentil"

// A room is one package (and the packages in folders below it that are not
// rooms of their own) and what it may import of the project.
type room struct {
	// imports are the rooms it may import. What these may import themselves it
	// may import too: nn may import tensor, hence quant.
	imports []string
	// stdOnly forbids third-party modules.
	stdOnly bool
	// open lifts all limits but those of closed.
	open bool
}

// below is floors 0 to 4, which the products on floor 5 stand on.
var below = []string{
	"machine", "quant", "tokenizer", "hub", "endpoint", "run", "run/screen", "run/tensorboard", "eval/score", "book", "book/search", "chat", "profile", "dataset", "weights", "compute",
	"tensor", "nn", "model", "adapter", "train", "generate",
}

// everywhere lists the leaves that every room may import.
var everywhere = []string{"fault", "internal/atomicfile", "internal/filelock", "internal/jsonpos", "internal/mersenne", "internal/smallfile"}

// and gives a list with more rooms in it.
func and(list []string, more ...string) []string { return slices.Concat(list, more) }

// house is the table "Who may import whom" of docs/design.md.
var house = map[string]room{
	// 0 leaves
	"fault":               {stdOnly: true},
	"internal/atomicfile": {},
	"internal/cstring":    {stdOnly: true},
	"internal/filelock":   {},
	"internal/jsonpos":    {stdOnly: true},
	"internal/mersenne":   {stdOnly: true},
	"internal/smallfile":  {stdOnly: true},
	"machine":             {},
	"quant":               {stdOnly: true},
	"tokenizer":           {},
	"hub":                 {},
	"endpoint":            {stdOnly: true},
	"run":                 {},
	"run/screen":          {imports: []string{"run"}},
	"run/tensorboard":     {imports: []string{"run"}},
	"eval/score":          {},
	"report":              {imports: []string{"run", "eval/score"}},
	"book":                {},
	"book/search":         {imports: []string{"book", "eval/score"}},
	"demo":                {stdOnly: true}, // embedded files
	// 1 text
	"chat/jinja":    {},
	"chat":          {imports: []string{"chat/jinja", "tokenizer"}},
	"dataset":       {imports: []string{"book", "chat", "tokenizer", "run", "eval/score", "endpoint", "profile"}},
	"internal/yaml": {imports: []string{"chat/jinja"}},
	"profile":       {imports: []string{"chat/jinja", "internal/yaml"}},
	"demo/facts":    {stdOnly: true},
	"demo/corpus":   {imports: []string{"demo/facts", "tokenizer"}},
	"demo/gen":      {imports: []string{"demo/facts", "demo/corpus", "tokenizer", "quant", "weights"}},
	// 1 bytes
	"weights": {imports: []string{"quant"}},
	"compute": {imports: []string{"quant"}},
	// 2 devices
	"compute/cpu":         {imports: []string{"compute", "quant", "machine"}},
	"compute/cuda":        {imports: []string{"compute", "quant", "machine", "internal/cstring"}},
	"compute/mlx":         {imports: []string{"compute", "quant", "machine", "internal/cstring"}},
	"compute/plan":        {imports: []string{"compute", "quant"}},
	"compute/fallback":    {imports: []string{"compute", "quant"}},
	"compute/computetest": {imports: []string{"compute", "quant"}},
	"compute/all":         {imports: []string{"compute", "compute/fallback", "compute/cpu", "compute/cuda", "compute/mlx"}},
	// 3 maths
	"tensor": {imports: []string{"compute", "quant"}},
	"nn":     {imports: []string{"tensor", "compute"}},
	"model":  {imports: []string{"nn", "weights"}},
	// 4 engines
	"adapter":  {imports: []string{"model", "nn", "tensor", "weights"}},
	"train":    {imports: []string{"model", "adapter", "nn", "tensor", "chat", "tokenizer", "weights", "run", "dataset"}},
	"generate": {imports: []string{"model", "adapter", "nn", "tensor", "chat", "tokenizer", "weights", "run"}},
	// 5 the middle floor
	"engine": {imports: and(below, "compute/all", "compute/plan")},
	// 6 products
	"eval":   {imports: and(below, "engine")},
	"export": {imports: and(below, "engine")},
	"tune":   {imports: and(below, "engine", "internal/yaml")},
	"bench":  {imports: and(below, "engine", "compute/fallback", "compute/computetest")},
	"serve":  {imports: and(below, "engine")},
	// 7 shell
	"internal/cli": {open: true},
	"cmd/lentil":   {open: true},
	// for tests
	"internal/spoil":  {stdOnly: true},
	"internal/readme": {stdOnly: true},
	// tests against peers
	"interop": {open: true},
}

// closed lists the rooms that even open rooms may not import, and who may.
var closed = map[string][]string{
	"compute/all":         {"engine", "bench"},
	"compute/computetest": {"bench"}, // for doctor --self-test
	"interop":             {},
	"internal/cli":        {"cmd/lentil"},
	"cmd/lentil":          {},
}

// roomOf finds the room that a package, given by its path in the module, lies in.
func roomOf(house map[string]room, pkg string) (string, bool) {
	for p := pkg; p != ""; {
		if _, ok := house[p]; ok {
			return p, true
		}
		cut := strings.LastIndexByte(p, '/')
		p = p[:max(cut, 0)]
	}
	return "", false
}

// reach is every room that name may import: its list, their lists, and so on.
func reach(house map[string]room, name string) map[string]bool {
	seen := map[string]bool{}
	var walk func(string)
	walk = func(n string) {
		for _, next := range house[n].imports {
			if !seen[next] {
				seen[next] = true
				walk(next)
			}
		}
	}
	walk(name)
	return seen
}

// violations lists what package pkg of the module imports against the table,
// one sentence each. Both are import paths.
func violations(house map[string]room, pkg string, imports []string) []string {
	from := strings.TrimPrefix(pkg, module+"/")
	name, ok := roomOf(house, from)
	if !ok {
		return []string{fmt.Sprintf("package %s is not in the plan: add it to \"Who may import whom\" in docs/design.md and to the table in layering_test.go", from)}
	}
	r, allowed := house[name], reach(house, name)
	for _, leaf := range everywhere {
		allowed[leaf] = true
	}
	var bad []string
	for _, path := range imports {
		to, inside := strings.CutPrefix(path, module+"/")
		if !inside {
			if first, _, _ := strings.Cut(path, "/"); r.stdOnly && strings.Contains(first, ".") {
				bad = append(bad, fmt.Sprintf("%s imports %s, but may import the standard library only", from, path))
			}
			continue
		}
		target, ok := roomOf(house, to)
		switch {
		case !ok: // reported where that package itself is checked
		case target == name:
		case r.open || allowed[target]:
			if who, limited := closed[target]; limited && !slices.Contains(who, name) {
				bad = append(bad, fmt.Sprintf("%s imports %s, which only %v may import", from, to, who))
			}
		default:
			bad = append(bad, fmt.Sprintf("%s imports %s, but may import %v only", from, to, slices.Sorted(maps.Keys(allowed))))
		}
	}
	return bad
}

// TestLayering checks the imports of every package of the project, those of
// tests left out.
func TestLayering(t *testing.T) {
	cmd := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Imports", "./...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	found := 0
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(p.ImportPath, module+"/") {
			continue
		}
		found++
		for _, v := range violations(house, p.ImportPath, p.Imports) {
			t.Error(v)
		}
	}
	if found == 0 {
		t.Fatal("go list named no package of the project")
	}
}

func TestViolations(t *testing.T) {
	tests := []struct {
		name, pkg string
		imports   []string
		want      string // part of the only violation; empty: none
	}{
		{"leaf with the standard library", "tokenizer", []string{"fmt", "unicode/utf8"}, ""},
		{"leaf with a module", "tokenizer", []string{"github.com/dlclark/regexp2"}, ""},
		{"quant with a module", "quant", []string{"golang.org/x/sys/cpu"}, "standard library only"},
		{"leaf imports a leaf", "hub", []string{module + "/run"}, "hub imports run"},
		{"demo imports the tokenizer", "demo", []string{module + "/tokenizer"}, "demo imports tokenizer"},
		{"demo's generator may", "demo/gen", []string{module + "/tokenizer"}, ""},
		{"listed", "nn", []string{module + "/tensor"}, ""},
		{"foundation of a listed one", "nn", []string{module + "/quant"}, ""},
		{"upwards", "tensor", []string{module + "/nn"}, "tensor imports nn"},
		{"contract knows no device", "compute", []string{module + "/compute/cpu"}, "compute imports compute/cpu"},
		{"device knows no other", "compute/cuda", []string{module + "/compute/cpu"}, "compute/cuda imports compute/cpu"},
		{"folder below a room is that room", "compute/cpu/asm", []string{module + "/compute", module + "/compute/cpu"}, ""},
		{"folder below a room, against the rule", "compute/cpu/asm", []string{module + "/tensor"}, "compute/cpu/asm imports tensor"},
		{"sibling engines", "train", []string{module + "/generate"}, "train imports generate"},
		{"sibling products", "serve", []string{module + "/export"}, "serve imports export"},
		{"product on engines", "serve", []string{module + "/generate", module + "/hub"}, ""},
		{"devices are listed for engine and bench alone", "eval", []string{module + "/compute/all"}, "compute/all, which only"},
		{"engine opens devices", "engine", []string{module + "/compute/all"}, ""},
		{"the shell does not", "internal/cli", []string{module + "/compute/all", module + "/train"}, "compute/all, which only"},
		{"the command goes through the shell", "cmd/lentil", []string{module + "/compute/all"}, "compute/all, which only"},
		{"cross-checks are never imported", "internal/cli", []string{module + "/interop"}, "interop"},
		{"unknown package", "utils", nil, "not in the plan"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := violations(house, module+"/"+tt.pkg, tt.imports)
			switch {
			case tt.want == "" && len(got) > 0:
				t.Errorf("unexpected: %v", got)
			case tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)):
				t.Errorf("got %q, want one violation with %q", got, tt.want)
			}
		})
	}
}

// TestHouseHasNoCycle guards the table itself: a cycle would allow everything.
func TestHouseHasNoCycle(t *testing.T) {
	for name, r := range house {
		if reach(house, name)[name] {
			t.Errorf("%s may import itself through others", name)
		}
		for _, i := range r.imports {
			if _, ok := house[i]; !ok {
				t.Errorf("%s names %s, which is not in the table", name, i)
			}
		}
	}
}
