package main

import (
	"context"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		v    []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{5, 1, 2}, 2}, {[]float64{4, 1, 2, 9}, 3}} {
		if got := median(test.v); got != test.want {
			t.Errorf("median of %v is %g, want %g", test.v, got, test.want)
		}
	}
}

func TestSlope(t *testing.T) {
	if got := slope([]float64{0, 1, 3}, []float64{1, 2.5, 5.5}); !(math.Abs(got-1.5) <= 1e-12) {
		t.Errorf("slope %g, want 1.5", got)
	}
}

// TestReport measures sides of known speed, one of which fails and one of which is absent.
func TestReport(t *testing.T) {
	h := &harness{log: io.Discard, limit: time.Minute}
	var order []string
	give := func(name string, values ...float64) side {
		return side{name, func(context.Context) (float64, error) {
			order = append(order, name)
			v := values[0]
			values = values[1:]
			return v, nil
		}}
	}
	fail := func(name string, err error) side {
		return side{name, func(context.Context) (float64, error) { return 0, err }}
	}
	var results []result
	for _, w := range []work{
		{name: "more is better", unit: "tokens/s", goal: "1.1 x b", sides: []side{give("a", 20, 30, 40), give("b", 10, 15, 20)}},
		{name: "less is better", unit: "s", lower: true, sides: []side{give("a", 2, 2, 2), give("b", 1, 1, 1), fail("c", errAbsent), fail("d", errors.New("broke\nmore"))}},
		{name: "prompt of 256 tokens, x", unit: "tokens/s", sides: []side{give("a", 100, 100, 100)}},
		{name: "prompt of 1024 tokens, x", unit: "tokens/s", sides: []side{give("a", 50, 50, 50)}},
	} {
		r, err := h.measure(t.Context(), w, 3)
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, r)
	}
	if got := strings.Join(order[:6], ""); got != "ababab" {
		t.Errorf("sides ran in the order %s, want in alternation", got)
	}
	text := report([]fact{{"processor", "abacus"}}, []string{"bench"}, results)
	for _, want := range []string{
		"* processor: abacus\n",
		"| more is better | 30.0 (20.0 to 40.0) tokens/s | b 15.0 (10.0 to 20.0) | 2.00 | 1.1 x b |\n",
		"| less is better | 2 (2 to 2) s | b 1 (1 to 1), c (not installed), d (failed) | 0.50, -, - |  |\n",
		"to the power of 1.50.",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report has no %q:\n%s", want, text)
		}
	}
}

// TestKernels measures tiny ops, only to see that they run.
func TestKernels(t *testing.T) {
	for name, measure := range map[string]func(m, n, k, threads int) (float64, error){"gemm": gemmRate, "linear": linearRate, "gradient": gradientRate} {
		if got, err := measure(8, 64, 128, 1); err != nil || !(got > 0) {
			t.Errorf("%s: %g GFLOP/s, %v", name, got, err)
		}
	}
	if got, err := attentionMemory(64, 1); err != nil || got < 0 {
		t.Errorf("attention: %g MB, %v", got, err)
	}
}
