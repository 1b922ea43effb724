package adapter

import (
	"fmt"
	"maps"
	"slices"
)

// Merge adds adapters up, each times its weight. The ranks add up too, so nothing is
// lost.
func Merge(list []*Adapter, weight []float32) (*Adapter, error) {
	if len(list) == 0 || len(list) != len(weight) {
		return nil, fmt.Errorf("%d adapters, %d weights", len(list), len(weight))
	}
	out := &Adapter{Layout: list[0].Layout, Base: list[0].Base}
	sums := map[string]*Update{}
	for i, a := range list {
		if a.DoRA() {
			return nil, fmt.Errorf("adapter %d of %d is a DoRA, whose magnitudes do not add up: fuse it into the base model, and train or attach the others there", i+1, len(list))
		}
		if err := a.ready(); err != nil {
			return nil, err
		}
		out.Copies = append(out.Copies, a.Copies...)
		out.held, out.experts, out.partial = out.held+a.held, max(out.experts, a.experts), out.partial || a.partial
		for _, u := range a.Updates {
			if sums[u.Module] == nil {
				sums[u.Module] = &Update{Module: u.Module, Experts: u.Experts, In: u.In, Out: u.Out, Scale: 1}
			}
			if err := sums[u.Module].add(u, weight[i]); err != nil {
				return nil, err
			}
		}
	}
	for _, module := range slices.Sorted(maps.Keys(sums)) {
		out.Updates = append(out.Updates, *sums[module])
	}
	return out, out.checkSpread()
}

// add appends the terms of another update of the same projection, times weight.
func (u *Update) add(more Update, weight float32) error {
	if !slices.Equal(u.Shape(), more.Shape()) {
		return fmt.Errorf("%s: for %v in one adapter, for %v in another: they belong to different models", more.Module, u.Shape(), more.Shape())
	}
	old := u.Rank
	if old+more.Rank > maxRank {
		return fmt.Errorf("%s: the ranks add up to %d, more than %d", more.Module, old+more.Rank, maxRank)
	}
	u.widen(old + more.Rank)
	for r := range max(more.Experts, 1) * more.In { // rows of A get columns
		copy(u.A[r*u.Rank+old:(r+1)*u.Rank], more.A[r*more.Rank:])
	}
	size := more.Rank * more.Out
	for e := range max(more.Experts, 1) { // rows of B come behind those that the expert has
		to := u.B[(e*u.Rank+old)*more.Out:]
		for i, b := range more.B[e*size : (e+1)*size] {
			to[i] = b * more.Scale * weight
		}
	}
	return nil
}
