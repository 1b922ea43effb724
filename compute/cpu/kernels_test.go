package cpu

import (
	"strings"
	"testing"
)

func TestChooseKernels(t *testing.T) {
	all := families()
	t.Setenv("LENTIL_CPU", "")
	if k, err := chooseKernels(""); err != nil || k != all[0] {
		t.Errorf("without a wish: %v (%v), want %s", k, err, all[0].name)
	}
	for _, want := range all {
		t.Setenv("LENTIL_CPU", want.name)
		if k, err := chooseKernels(""); err != nil || k != want {
			t.Errorf("LENTIL_CPU=%s: %v (%v)", want.name, k, err)
		}
	}
	t.Setenv("LENTIL_CPU", "abacus")
	if _, err := chooseKernels(""); err == nil || !strings.Contains(err.Error(), all[0].name) {
		t.Errorf("LENTIL_CPU=abacus: %v", err)
	}
}
