package screen

import (
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/run"
)

// TestPlanTells: a run that fits says how its GPU is watched, one that does not says what would make it fit.
func TestPlanTells(t *testing.T) {
	p := run.Plan{TotalBytes: 5e9, AvailableBytes: 8e9, Fits: true, Watch: "sudo gauge"}
	if text := planText(p); !strings.Contains(text, "in another terminal: sudo gauge\n") {
		t.Error(text)
	}
	if p.Fits = false; strings.Contains(planText(p), "gauge") {
		t.Error(planText(p))
	}
}
