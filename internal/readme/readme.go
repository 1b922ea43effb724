// Package readme builds and runs the programs in the README from another
// module, for tests: what is printed there has to work as it stands.
package readme

import (
	"context"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// goBlock is a Go program in a text.
var goBlock = regexp.MustCompile("(?s)```go\n(package main\n.*?)```")

const module = "github.com/lentil-lm/lentil"

// A Program is one of the README's.
type Program struct {
	root   string // folder of the project
	source string
	main   *ast.FuncDecl
	files  *token.FileSet
}

// Find gives the program that imports a package of the project. root is the project's folder.
func Find(t *testing.T, root, pkg string) Program {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range goBlock.FindAllStringSubmatch(string(readme), -1) {
		if !strings.Contains(block[1], `"`+module+"/"+pkg+`"`) {
			continue
		}
		p := Program{root: root, source: block[1], files: token.NewFileSet()}
		if formatted, err := format.Source([]byte(p.source)); err != nil || string(formatted) != p.source {
			t.Errorf("gofmt would change the program: %v", err)
		}
		p.main = function(t, p.files, p.source, "main")
		return p
	}
	t.Fatalf("the README has no program with package %s", pkg)
	return Program{}
}

// function finds one in a source.
func function(t *testing.T, files *token.FileSet, source any, name string) *ast.FuncDecl {
	t.Helper()
	path := "main.go"
	if p, ok := source.(string); ok && strings.HasSuffix(p, ".go") {
		path, source = p, nil
	}
	file, err := parser.ParseFile(files, path, source, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == name {
			return f
		}
	}
	t.Fatalf("%s has no function %s", path, name)
	return nil
}

// Lines is how many lines main takes, from "func main() {" to "}".
func (p Program) Lines() int {
	return p.files.Position(p.main.End()).Line - p.files.Position(p.main.Pos()).Line + 1
}

// IsExample demands that main does what the Example of a file does.
func (p Program) IsExample(t *testing.T, path string) {
	t.Helper()
	text := func(files *token.FileSet, f *ast.FuncDecl) string {
		var b strings.Builder
		if err := format.Node(&b, files, f.Body); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	files := token.NewFileSet()
	if example := text(files, function(t, files, path, "Example")); text(p.files, p.main) != example {
		t.Errorf("the README's program is not that of %s:\n%s", path, example)
	}
}

// Run builds the program in a module of its own, in a folder, runs it there and gives what it prints.
func (p Program) Run(t *testing.T, dir string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the project as another module's dependency")
	}
	root, err := filepath.Abs(p.root)
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(mod), "module "+module, "module example.org/program", 1)
	text += "\nrequire " + module + " v0.0.0\n\nreplace " + module + " => " + root + "\n"
	for name, content := range map[string]string{"main.go": p.source, "go.mod": text, "go.sum": string(sums)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	command := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOPROXY=off", "GOWORK=off", "GOFLAGS=-trimpath -mod=mod")
		var errOut strings.Builder
		cmd.Stderr = &errOut
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, errOut.String())
		}
		return string(out)
	}
	command("go", "build", "-o", "program.exe", ".") // the ending that Windows wants
	return command(filepath.Join(dir, "program.exe"))
}
