package adapter

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/weights"
)

// PEFT's files have a LoRA for each expert of a mixture, under the name that the expert's
// projection has in transformers 4. All other layouts have one for the stack.

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

// stackExperts makes one update of those of a stack's experts. Experts without one get
// zeros, up to the last expert that any stack of the file has: see addExperts.
func (a *Adapter) stackExperts() error {
	stacks := map[string]map[int]Update{} // by module, by expert
	var updates []Update
	for _, u := range a.Updates {
		stack, i, ok := expertOf(u.Module)
		if !ok {
			updates = append(updates, u)
			continue
		}
		switch other, twice := stacks[stack][i]; {
		case u.Magnitude != nil:
			return fmt.Errorf("%s: experts take no DoRA: leave them out of target_modules, or train without use_dora", u.Module)
		case u.Experts > 0:
			return fmt.Errorf("%s is for %v, expected the 2 dimensions of one expert's projection", u.Module, u.Shape())
		case twice:
			return fmt.Errorf("%s and %s are the same expert's", other.Module, u.Module)
		case stacks[stack] == nil:
			stacks[stack] = map[int]Update{}
		}
		stacks[stack][i] = u
		a.experts = max(a.experts, i+1)
	}
	for _, module := range slices.Sorted(maps.Keys(stacks)) {
		u := Update{Module: module, Experts: a.experts}
		if err := u.size(stacks[module]); err != nil {
			return err
		}
		updates = append(updates, u)
		a.partial = a.partial || len(stacks[module]) < a.experts
	}
	a.Updates = updates
	if err := a.checkSpread(); err != nil {
		return err
	}
	for i := range a.Updates {
		if parts := stacks[a.Updates[i].Module]; parts != nil {
			a.Updates[i].join(parts)
		}
	}
	return nil
}

// size gives a stack the sizes of its experts, which are alike, and their highest rank.
func (u *Update) size(parts map[int]Update) error {
	for _, i := range slices.Sorted(maps.Keys(parts)) {
		p := parts[i]
		if u.Rank > 0 && (p.In != u.In || p.Out != u.Out) {
			return fmt.Errorf("%s is from %d to %d, another expert's from %d to %d: experts are alike", p.Module, p.In, p.Out, u.In, u.Out)
		}
		u.In, u.Out, u.Rank = p.In, p.Out, max(u.Rank, p.Rank)
	}
	return nil
}

// join fills a stack with the matrices of single experts.
func (u *Update) join(parts map[int]Update) {
	experts := slices.Sorted(maps.Keys(parts))
	var all Adapter
	for _, i := range experts {
		all.Updates = append(all.Updates, parts[i])
	}
	_, u.Scale = all.Uniform()
	u.A, u.B = make([]float32, u.Experts*u.In*u.Rank), make([]float32, u.Experts*u.Rank*u.Out)
	for i, part := range all.Updates {
		copy(u.A[experts[i]*u.In*u.Rank:], part.A)
		copy(u.B[experts[i]*u.Rank*u.Out:], part.B)
	}
}

// addExperts gives stacks all experts of the model, since a file tells of those alone that
// it has a LoRA for.
func (a *Adapter) addExperts(c *model.Config) error {
	if a.experts == 0 {
		return nil
	}
	arch, err := c.Architecture()
	if err != nil || arch.Experts.Count == 0 {
		return err
	}
	count := arch.Experts.Count
	a.partial = false
	if a.experts >= count {
		return nil
	}
	for i := range a.Updates {
		if u := &a.Updates[i]; u.Experts == a.experts {
			u.Experts = count
		}
	}
	a.experts = count
	if err := a.checkSpread(); err != nil {
		return err
	}
	for i := range a.Updates {
		if u := &a.Updates[i]; u.Experts == a.experts {
			u.A = append(u.A, make([]float32, u.Experts*u.In*u.Rank-len(u.A))...)
			u.B = append(u.B, make([]float32, u.Experts*u.Rank*u.Out-len(u.B))...)
		}
	}
	return nil
}

// Zeros fill up what a file does not have: one rank takes them in all modules, and a
// stack in all experts. These bound them, so that a small file does not take all memory.
// A LoRA for one expert of 128 becomes 128 times as large; a rank_pattern that gives some
// modules 16 times the rank of others stays far below.
const (
	maxSpread  = 128
	freeSpread = 1 << 20 // numbers, whatever the file holds
)

// checkSpread refuses updates that would become too large.
func (a *Adapter) checkSpread() error {
	var rank, experts int
	var in, at string // the modules with the highest rank and the most experts
	for _, u := range a.Updates {
		if u.Rank > rank {
			rank, in = u.Rank, u.Module
		}
		if u.Experts > experts {
			experts, at = u.Experts, u.Module
		}
	}
	var total float64 // an int could overflow
	for _, u := range a.Updates {
		total += float64(max(u.Experts, 1)) * float64(u.In+u.Out) * float64(rank)
	}
	most := max(freeSpread, maxSpread*float64(a.held))
	if total <= most {
		return nil
	}
	stacks := ""
	if experts > 0 {
		stacks = fmt.Sprintf(" and for all %d experts of %s", experts, at)
	}
	return fmt.Errorf("the adapter holds %d numbers and would become %.0f, expected at most %.0f: all modules get rank %d of %s, with zeros where they have less%s; train it with ranks closer together (rank_pattern), or for more of the experts", a.held, total, most, rank, in, stacks)
}
