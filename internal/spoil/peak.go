package spoil

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// peakOf names the test whose work a child process does.
const peakOf = "LENTIL_SPOIL_PEAK_OF"

// Peak does work in a process of its own, the calling test again, and fails if its resident memory was ever more than
// so many MiB. The rest of the test may only build what work needs. Only Linux tells; elsewhere, and under the race
// detector, the test is skipped.
func Peak(t *testing.T, most int, work func(t *testing.T)) {
	t.Helper()
	if os.Getenv(peakOf) == t.Name() {
		work(t)
		fmt.Printf("\npeak %d\n", residentPeak(t))
		return
	}
	if RaceDetector {
		t.Skip("memory is not measured: the race detector takes most of it")
	}
	if residentPeak(t) == 0 {
		t.Skip("the system does not tell the peak of resident memory")
	}
	var parts []string
	for part := range strings.SplitSeq(t.Name(), "/") {
		parts = append(parts, "^"+regexp.QuoteMeta(part)+"$")
	}
	child := exec.Command(os.Args[0], "-test.run="+strings.Join(parts, "/"), "-test.count=1")
	child.Env = append(os.Environ(), peakOf+"="+t.Name())
	out, err := child.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%.4000s", err, out)
	}
	_, after, ok := strings.Cut(string(out), "\npeak ")
	line, _, _ := strings.Cut(after, "\n")
	kib, err := strconv.Atoi(line)
	if !ok || err != nil {
		t.Fatalf("no peak in %.4000q", out)
	}
	t.Logf("peak %d MiB of %d", kib>>10, most)
	if kib>>10 > most {
		t.Errorf("the peak of resident memory is %d MiB, expected at most %d", kib>>10, most)
	}
}

// residentPeak is the largest resident memory of this process so far in KiB; 0 where the system does not tell. The
// figure that a parent gets of a child will not do: it begins with the parent's own.
func residentPeak(t *testing.T) int {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			if err != nil {
				t.Fatal(err)
			}
			return kib
		}
	}
	return 0
}
