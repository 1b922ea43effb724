package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/lentil-lm/lentil/bench"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/run"
)

// testItself tests a device and writes what it finds to a file, one with the time in its name unless path is given. A
// test that finds a problem is a failure.
func (c *doctorFigures) testItself(ctx context.Context, streams Streams, device deviceFlags, path string) error {
	if path == "" {
		path = "lentil-self-test-" + time.Now().Format("20060102-150405") + ".json"
		if err := atomicfile.Vacant("json", path); err != nil {
			return err
		}
	}
	t, err := bench.RunSelfTest(ctx, device.Device, device.Threads, func(what string) { fmt.Fprintf(streams.Err, "Testing: %s\n", what) })
	if err != nil {
		return err
	}
	c.Devices, c.SelfTest = []bench.Device{t.Device}, &t
	printSelfTest(streams.Out, t)
	if err := writeFigures(path, c); err != nil {
		return err
	}
	fmt.Fprintf(streams.Out, "Written to %s: please send it with a report.\n", path)
	if n := len(t.Problems); n > 0 {
		return fault.Of("the self-test found problems: %d", n).Try("Send %s with a report. Until then, --device cpu does without %s.", path, t.Device.Name)
	}
	return nil
}

// idleText tells the share of the time in which the device had nothing to do, if it is known.
func idleText(share *float64) string {
	if share == nil {
		return ""
	}
	return fmt.Sprintf("; idle for at most %.2f %% of the time", 100**share)
}

// problemsShown is how many problems are printed; the file has all.
const problemsShown = 10

func printSelfTest(w io.Writer, t bench.SelfTest) {
	fmt.Fprintf(w, "device       %s\n", deviceLine(t.Device))
	fmt.Fprintf(w, "ops          %d of %d cases were compared with the definition\n", t.Cases, t.AllCases)
	if len(t.Kernels) > 0 || len(t.Failed) > 0 {
		fmt.Fprintf(w, "kernels      %d of our own ran, %d did not work and are composed\n", len(t.Kernels), len(t.Failed))
	}
	for _, name := range slices.Sorted(maps.Keys(t.Failed)) {
		fmt.Fprintf(w, "             %s: %s\n", name, t.Failed[name])
	}
	for _, c := range t.Curves {
		fmt.Fprintf(w, "training     %d steps of a tiny model (%s): the loss ends at %.4f, furthest from the processor's by %.1e (allowed %.1e)\n",
			len(c.Losses), c.Model, c.Losses[len(c.Losses)-1], c.Furthest, c.Allowed)
	}
	for _, s := range t.Speeds {
		fmt.Fprintf(w, "%-12s %.1f tokens/s; %.1f GFLOP/s and %.1f GB/s, of %.1f and %.1f%s\n", s.Work, s.TPS, s.GFLOPS, s.Bandwidth, t.Device.GFLOPS, t.Device.Bandwidth, idleText(s.Idle))
	}
	for _, text := range t.Problems[:min(problemsShown, len(t.Problems))] {
		fmt.Fprintf(w, "PROBLEM      %s\n", text)
	}
	fmt.Fprintf(w, "problems     %d, in %s\n", len(t.Problems), run.Duration(time.Duration(t.Seconds*float64(time.Second))))
}
