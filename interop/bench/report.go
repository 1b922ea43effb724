package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"time"

	"github.com/lentil-lm/lentil/machine"
)

// fact is a line about machine or versions.
type fact struct{ name, value string }

// facts lists the machine and the versions of all sides.
func (h *harness) facts(ctx context.Context) []fact {
	first := func(name string, args ...string) string {
		text, err := h.output(ctx, name, args...)
		if err != nil {
			return "unknown"
		}
		line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
		return line
	}
	out := []fact{
		{"date", time.Now().UTC().Format(time.DateOnly)},
		{"processor", machine.Processor()},
		{"threads", fmt.Sprint(h.threads)},
		{"system", runtime.GOOS + "/" + runtime.GOARCH + ", " + runtime.Version()},
		{"lentil", first(h.program(), "--version")},
	}
	if h.device != "" {
		text, _ := h.output(ctx, h.program(), "doctor") // what it cannot tell is left out
		for line := range strings.Lines(string(text)) {
			if about, ok := strings.CutPrefix(line, "device "); ok && strings.Contains(about, h.device) {
				out = append(out, fact{"GPU", strings.TrimSpace(about)})
				break
			}
		}
	}
	version := func(name, python, packages string) {
		if python != "" {
			out = append(out, fact{name, first(python, "-c", "import importlib.metadata as m; print(', '.join(p + ' ' + m.version(p) for p in '"+packages+"'.split()))")})
		}
	}
	version("numpy", h.peers["numpy"], "numpy")
	version("mlx-lm", h.peers["mlx-lm"], "mlx-lm mlx")
	version("PEFT", h.peers["PEFT"], "torch peft transformers")
	version("PEFT on the GPU", h.cardPython, "torch peft transformers")
	version("llama.cpp", h.peers["llama.cpp"], "llama-cpp-python")
	return out
}

// report writes the page.
func report(facts []fact, command []string, results []result) string {
	var b strings.Builder
	b.WriteString("# Benchmarks\n\nWritten by `interop/bench`; do not edit. Every side does the same work with the same number of threads, in alternation;\n" +
		"figures are medians over the rounds, with the lowest and highest in brackets. A ratio above 1 means that Lentil is better.\n" +
		"Weights are random in the shape of the model named; llama.cpp has the same ones\nas Q4_0 and Q4_1 and is timed in its decode calls alone; mlx-lm computes with them in float32 (float16 is much slower on its CPU build), PEFT has float32 weights.\n\n")
	for _, f := range facts {
		fmt.Fprintf(&b, "* %s: %s\n", f.name, f.value)
	}
	fmt.Fprintf(&b, "* command: `%s`\n\n", strings.Join(command, " "))
	b.WriteString("| work | Lentil | beside | ratio | to reach |\n|---|---|---|---|---|\n")
	for _, r := range results {
		var beside, ratios []string
		for i, s := range r.sides {
			if i == 0 {
				continue
			}
			beside = append(beside, s.name+" "+r.figure(i))
			if ratio, ok := r.ratio(i); ok {
				ratios = append(ratios, fmt.Sprintf("%.2f", ratio))
			} else {
				ratios = append(ratios, "-")
			}
		}
		fmt.Fprintf(&b, "| %s | %s %s | %s | %s | %s |\n", r.name, r.figure(0), r.unit, strings.Join(beside, ", "), strings.Join(ratios, ", "), r.goal)
	}
	if text := growth(results); text != "" {
		b.WriteString("\n" + text)
	}
	return b.String()
}

// figure is a side's median and range.
func (r result) figure(i int) string {
	v := r.figures[i]
	if len(v) == 0 {
		switch err := r.failed[i]; {
		case err == nil:
			return "-"
		case errors.Is(err, errAbsent), errors.Is(err, errSlow):
			return "(" + err.Error() + ")"
		}
		return "(failed)"
	}
	low, high := v[0], v[0]
	for _, x := range v {
		low, high = min(low, x), max(high, x)
	}
	return fmt.Sprintf("%s (%s to %s)", digits(median(v)), digits(low), digits(high))
}

// digits writes a number with three significant digits at least.
func digits(v float64) string {
	switch a := math.Abs(v); {
	case a >= 1e6:
		return fmt.Sprintf("%.3g M", v/1e6)
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// ratio tells how many times better Lentil is than side i.
func (r result) ratio(i int) (float64, bool) {
	mine, other := median(r.figures[0]), median(r.figures[i])
	if mine == 0 || other == 0 {
		return 0, false
	}
	if r.lower {
		return other / mine, true
	}
	return mine / other, true
}

// growth tells how the time of a prompt grows with its length: the exponent e
// of time ~ length^e by least squares over the logarithms.
func growth(results []result) string {
	var x, y []float64
	for _, r := range results {
		var n int
		var shape string
		if got, _ := fmt.Sscanf(r.name, "prompt of %d tokens, %s", &n, &shape); got == 2 && len(r.sides) == 1 && len(r.figures[0]) > 0 {
			x = append(x, math.Log(float64(n)))
			y = append(y, math.Log(float64(n)/median(r.figures[0])))
		}
	}
	if len(x) < 2 {
		return ""
	}
	return fmt.Sprintf("The time of a prompt grows with its length to the power of %.2f.\n", slope(x, y))
}

// slope is that of the line through the points by least squares.
func slope(x, y []float64) float64 {
	var mx, my float64
	for i := range x {
		mx += x[i] / float64(len(x))
		my += y[i] / float64(len(y))
	}
	var xy, xx float64
	for i := range x {
		xy += (x[i] - mx) * (y[i] - my)
		xx += (x[i] - mx) * (x[i] - mx)
	}
	return xy / xx
}
