package adapter_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
)

// delta is the update of one module, [In, Out].
func delta(u adapter.Update) []float32 {
	out := make([]float32, u.In*u.Out)
	for i := range u.In {
		for o := range u.Out {
			for r := range u.Rank {
				out[i*u.Out+o] += u.Scale * u.A[i*u.Rank+r] * u.B[r*u.Out+o]
			}
		}
	}
	return out
}

func TestMergeLoRA(t *testing.T) {
	t.Parallel()
	one := adapter.Update{Module: "m", In: 2, Out: 3, Rank: 1, A: []float32{1, 2}, B: []float32{3, 4, 5}, Scale: 2}
	two := adapter.Update{Module: "m", In: 2, Out: 3, Rank: 2, A: []float32{1, 0, 0, 1}, B: []float32{1, 0, 0, 0, 1, 0}, Scale: 8}
	other := adapter.Update{Module: "n", In: 1, Out: 1, Rank: 1, A: []float32{1}, B: []float32{1}, Scale: 3}
	sum, err := adapter.Merge([]*adapter.Adapter{{Updates: []adapter.Update{one}}, {Updates: []adapter.Update{two, other}}}, []float32{1, 0.5})
	if err != nil {
		t.Fatal(err)
	}
	// 2·[1;2][3 4 5] + 4·[1 0 0; 0 1 0]
	want := map[string][]float32{"m": {10, 8, 10, 12, 20, 20}, "n": {1.5}}
	got := map[string][]float32{}
	for range 2 { // the second time with one rank and scale for all
		for _, u := range sum.Updates {
			got[u.Module] = delta(u)
		}
		if !maps.EqualFunc(got, want, slices.Equal[[]float32]) {
			t.Errorf("merged to %v, want %v", got, want)
		}
		if rank, _ := sum.Uniform(); rank != 3 {
			t.Errorf("rank %d, want 3", rank)
		}
	}
	wide := one
	wide.Out = 4
	if _, err := adapter.Merge([]*adapter.Adapter{{Updates: []adapter.Update{one}}, {Updates: []adapter.Update{wide}}}, []float32{1, 1}); err == nil {
		t.Error("adapters of different models were merged")
	}
	dora := one
	dora.Magnitude = []float32{1, 2, 3}
	if _, err := adapter.Merge([]*adapter.Adapter{{Updates: []adapter.Update{one}}, {Updates: []adapter.Update{dora}}}, []float32{1, 1}); err == nil || !strings.Contains(err.Error(), "adapter 2 of 2 is a DoRA") {
		t.Errorf("a DoRA was merged: %v", err)
	}
}
