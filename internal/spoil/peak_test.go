package spoil

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestPeak: a process that takes 200 MiB passes a limit above and fails one below.
func TestPeak(t *testing.T) {
	work := func(t *testing.T) {
		taken := make([]byte, 200<<20)
		for i := 0; i < len(taken); i += 4096 {
			taken[i] = 1
		}
		if taken[4096] != 1 {
			t.Error("unused")
		}
	}
	most := 300
	if os.Getenv("LENTIL_SPOIL_TOO_LITTLE") != "" {
		most = 100
	}
	Peak(t, most, work)
	if most == 100 || os.Getenv(peakOf) != "" {
		return
	}
	again := exec.Command(os.Args[0], "-test.run=^TestPeak$")
	again.Env = append(os.Environ(), "LENTIL_SPOIL_TOO_LITTLE=1")
	if out, err := again.CombinedOutput(); err == nil || !strings.Contains(string(out), "expected at most 100") {
		t.Errorf("%v: %s", err, out)
	}
}
