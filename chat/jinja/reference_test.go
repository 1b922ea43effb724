package jinja

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sharedDir returns a folder of shared test data beside the project, or skips the test.
func sharedDir(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the working directory")
		}
	}
	dir = filepath.Join(dir, "..", "shared", name)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("shared test data %q is not here", name)
	}
	return dir
}

func readJSON(t testing.TB, path string) Value {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	v, err := ParseJSON(data)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return v
}

// referenceKind sorts a message of the reference into our kinds of errors.
func referenceKind(msg string) errorKind {
	switch {
	case strings.Contains(msg, "recursion depth"):
		return limitError
	case strings.Contains(msg, "is unsafe"):
		return securityError
	case strings.Contains(msg, "has no element"), strings.Contains(msg, "is undefined"), strings.Contains(msg, "has no attribute"):
		return undefinedError
	case strings.Contains(msg, "concatenate"), strings.Contains(msg, "not iterable"), strings.Contains(msg, "no len()"),
		strings.Contains(msg, "unsupported operand"), strings.Contains(msg, "not JSON serializable"):
		return typeError
	}
	return raisedError
}

// TestReference renders every shared template in every context; what Jinja2 gave is the truth.
func TestReference(t *testing.T) {
	t.Parallel()
	dir := sharedDir(t, "templates")
	contexts := readJSON(t, filepath.Join(dir, "contexts.json")).(*List)
	reference := readJSON(t, filepath.Join(dir, "reference.json")).(*Dict)
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	if reference.Len() < 72 {
		t.Fatalf("the reference has %d templates, expected 72", reference.Len())
	}
	for _, name := range reference.Keys() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			tmpl, err := Parse(string(src))
			if err != nil {
				t.Fatal(err)
			}
			cases, _ := reference.Get(name)
			for _, c := range contexts.Items {
				label, _ := c.(*Dict).Get("name")
				ctx, _ := c.(*Dict).Get("ctx")
				want, ok := cases.(*Dict).Get(label.(string))
				if !ok {
					t.Errorf("the reference lacks context %q", label)
					continue
				}
				got, _, err := tmpl.Render(ctx.(*Dict), now)
				checkReference(t, label.(string), want.(*Dict), got, err)
			}
		})
	}
}

func checkReference(t *testing.T, label string, want *Dict, got string, err error) {
	t.Helper()
	if msg, isErr := want.Get("err"); isErr {
		var e *templateError
		if !errors.As(err, &e) {
			t.Errorf("%s: rendered %.200q, the reference raises %q", label, got, msg)
		} else if wantKind := referenceKind(msg.(string)); e.kind != wantKind {
			t.Errorf("%s: %s error %q, the reference raises a %s error: %q", label, e.kind, e, wantKind, msg)
		} else if e.line == 0 {
			t.Errorf("%s: error without a line: %v", label, e)
		}
		return
	}
	out, _ := want.Get("out")
	if err != nil {
		t.Errorf("%s: %v", label, err)
	} else if got != out {
		i := 0
		for i < min(len(got), len(out.(string))) && got[i] == out.(string)[i] {
			i++
		}
		t.Errorf("%s: differs from byte %d on:\n got …%.200q\nwant …%.200q", label, i, got[i:], out.(string)[i:])
	}
}
