package adapter

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/weights"
)

// PEFT's files have a LoRA for each expert of a mixture, under the name that its
// projection has in transformers 4. Everything else has one for the stack.

// expertOf is the stack that the projection of a single expert belongs to.
func expertOf(module string) (stack string, expert int, ok bool) {
	name, expert, ok := weights.StackedTensor(module + ".weight")
	return strings.TrimSuffix(name, ".weight"), expert, ok
}

// expertModule is the projection of one expert of a stack.
func expertModule(stack string, expert int) (module string, ok bool) {
	name, ok := weights.ExpertTensor(stack+".weight", expert)
	return strings.TrimSuffix(name, ".weight"), ok
}

// stackExperts makes one update of those of a stack's experts. Experts that have
// none get zeros, up to the last that any stack of the file has: see addExperts.
func (f *Adapter) stackExperts() error {
	stacks := map[string]map[int]Update{}
	var updates []Update
	for _, u := range f.Updates {
		stack, i, ok := expertOf(u.Module)
		if !ok {
			updates = append(updates, u)
			continue
		}
		if u.Magnitude != nil {
			return fmt.Errorf("%s: experts take no DoRA: leave them out of target_modules, or train without use_dora", u.Module)
		}
		if u.Experts > 0 {
			return fmt.Errorf("%s is for %v, expected the 2 dimensions of one expert's projection", u.Module, u.Shape())
		}
		if stacks[stack] == nil {
			stacks[stack] = map[int]Update{}
		}
		if other, twice := stacks[stack][i]; twice {
			return fmt.Errorf("%s and %s are the same expert's", other.Module, u.Module)
		}
		stacks[stack][i] = u
		f.experts = max(f.experts, i+1)
	}
	for module, parts := range stacks {
		sum := Update{Module: module, Experts: f.experts}
		for _, u := range parts {
			if sum.Rank > 0 && (u.In != sum.In || u.Out != sum.Out) {
				return fmt.Errorf("%s is from %d to %d, another expert's from %d to %d: experts are alike", u.Module, u.In, u.Out, sum.In, sum.Out)
			}
			sum.In, sum.Out, sum.Rank = u.In, u.Out, max(sum.Rank, u.Rank)
		}
		updates = append(updates, sum)
		f.partial = f.partial || len(parts) < f.experts
	}
	f.Updates = updates
	if err := f.checkSpread(); err != nil {
		return err
	}
	for i := range f.Updates {
		if parts := stacks[f.Updates[i].Module]; parts != nil {
			f.Updates[i].join(parts)
		}
	}
	return nil
}

// join fills a stack with the matrices of single experts.
func (u *Update) join(parts map[int]Update) {
	experts := slices.Sorted(maps.Keys(parts))
	var f Adapter
	for _, i := range experts {
		f.Updates = append(f.Updates, parts[i])
	}
	_, u.Scale = f.Uniform()
	u.A, u.B = make([]float32, u.Experts*u.In*u.Rank), make([]float32, u.Experts*u.Rank*u.Out)
	for i, part := range f.Updates {
		copy(u.A[experts[i]*u.In*u.Rank:], part.A)
		copy(u.B[experts[i]*u.Rank*u.Out:], part.B)
	}
}

// addExperts gives stacks the experts that the model has behind the last one of
// which the file had a LoRA: only the model tells how many there are.
func (f *Adapter) addExperts(c *model.Config) error {
	if f.experts == 0 {
		return nil
	}
	facts, err := c.Facts()
	if err != nil || facts.Experts.Count == 0 {
		return err
	}
	count := facts.Experts.Count
	f.partial = false
	if f.experts >= count {
		return nil
	}
	for i := range f.Updates {
		if u := &f.Updates[i]; u.Experts == f.experts {
			u.Experts = count
		}
	}
	f.experts = count
	if err := f.checkSpread(); err != nil {
		return err
	}
	for i := range f.Updates {
		if u := &f.Updates[i]; u.Experts == f.experts {
			u.A = append(u.A, make([]float32, u.Experts*u.In*u.Rank-len(u.A))...)
			u.B = append(u.B, make([]float32, u.Experts*u.Rank*u.Out-len(u.B))...)
		}
	}
	return nil
}

// One rank for all modules and a matrix for every expert take numbers that a file
// has not: zeros. These say how many there may be, so that a small file does not
// take all memory. 128 times as many are what a LoRA for one expert of 128 takes;
// far from it is a rank_pattern that gives some modules 16 times the rank of others.
const (
	maxSpread  = 128
	freeSpread = 1 << 20 // numbers, whatever the file holds
)

// checkSpread refuses updates that would become too large.
func (f *Adapter) checkSpread() error {
	var rank, experts int
	var in, at string // the modules with the highest rank and the most experts
	for _, u := range f.Updates {
		if u.Rank > rank {
			rank, in = u.Rank, u.Module
		}
		if u.Experts > experts {
			experts, at = u.Experts, u.Module
		}
	}
	var total float64 // an int could overflow
	for _, u := range f.Updates {
		total += float64(max(u.Experts, 1)) * float64(u.In+u.Out) * float64(rank)
	}
	most := max(freeSpread, maxSpread*float64(f.held))
	if total <= most {
		return nil
	}
	stacks := ""
	if experts > 0 {
		stacks = fmt.Sprintf(" and for all %d experts of %s", experts, at)
	}
	return fmt.Errorf("the adapter holds %d numbers and would become %.0f, expected at most %.0f: all modules get rank %d of %s, with zeros where they have less%s; train it with ranks closer together (rank_pattern), or for more of the experts", f.held, total, most, rank, in, stacks)
}
