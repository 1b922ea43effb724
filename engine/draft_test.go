package engine

import (
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/compute"
)

// TestWarnDraft: a device that does not promise RowWise comes with a warning.
func TestWarnDraft(t *testing.T) {
	var said []string
	warn := func(text string) { said = append(said, text) }
	warnDraft(compute.Info{Name: "cpu", RowWise: true}, warn)
	warnDraft(compute.Info{Name: "abacus"}, nil)
	if warnDraft(compute.Info{Name: "abacus"}, warn); len(said) != 1 || !strings.HasPrefix(said[0], "abacus rounds") {
		t.Errorf("warnings %q", said)
	}
}
