package tune_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/demo"
	"github.com/lentil-lm/lentil/internal/readme"
	"github.com/lentil-lm/lentil/tune"
)

// TestTuneProgram builds and runs the README's program that tunes a model, from another
// module: what it saves is an adapter that tests as the program said.
func TestTuneProgram(t *testing.T) {
	t.Parallel()
	p := readme.Find(t, "..", "tune")
	if n := p.Lines(); n > 15 {
		t.Errorf("tuning a model takes %d lines, expected 15 at most", n)
	}
	p.IsExample(t, "example_test.go")
	dir := t.TempDir()
	if err := demo.Write(dir, false); err != nil {
		t.Fatal(err)
	}
	got := p.Run(t, dir)
	r := tune.New()
	r.Model, r.Data, r.AdapterPath = filepath.Join(dir, "model"), filepath.Join(dir, "data"), filepath.Join(dir, "adapters")
	r.Test, r.MaskPrompt = true, true
	saved, err := tune.Run(t.Context(), r, tune.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ppl := saved.Tested.Perplexity()
	if want := fmt.Sprintf("test perplexity %.3f\n", ppl); !strings.HasSuffix(got, want) || ppl > 1.44 { // the base has 1.475
		t.Errorf("the program prints %q, the adapter has %.3f", got, ppl)
	}
}
