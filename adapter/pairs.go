package adapter

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/weights"
)

// pairs collects the tensors of a file by module: A, B, and magnitudes in a DoRA.
type pairs struct {
	path string // for errors
	dora bool
	at   map[string]*Update
}

func newPairs(path string, dora bool) *pairs { return &pairs{path, dora, map[string]*Update{}} }

// part is what a tensor is of an update.
type part int

const (
	noPart part = iota
	partA
	partB
	partMagnitude
)

// split takes the suffix off a tensor's name that tells which part of a module's update
// it is. suffixes are those of A, B and the magnitude.
func split(name string, suffixes ...string) (module string, is part) {
	for i, suffix := range suffixes {
		if module, ok := strings.CutSuffix(name, suffix); ok {
			return module, part(i + 1)
		}
	}
	return name, noPart
}

// of is the update of a module.
func (p *pairs) of(module string) *Update {
	u := p.at[module]
	if u == nil {
		u = &Update{Module: module}
		p.at[module] = u
	}
	return u
}

// put adds a tensor of a safetensors file. transposed says that matrices are Aᵀ and Bᵀ;
// otherwise they may be stacks, whose matrices are.
func (p *pairs) put(module string, is part, x weights.Tensor, transposed bool) error {
	if is == noPart || is == partMagnitude && !p.dora {
		return fmt.Errorf("%s: tensor %q is no part of a %s; embeddings and whole modules beside it are not supported", p.path, x.Name, kindOf(p.dora))
	}
	if is == partMagnitude {
		return p.magnitude(module, x)
	}
	stack := len(x.Shape) == 3 && !transposed
	if len(x.Shape) != 2 && !stack || !x.DType.IsWeight() || len(x.Data) == 0 {
		return fmt.Errorf("%s: tensor %q is %v %v, expected floating-point numbers in 2 dimensions", p.path, x.Name, x.DType, x.Shape)
	}
	return p.add(module, is, x.Name, x.Shape, x.Floats(), transposed || stack)
}

// magnitude puts the lengths of a DoRA in their place.
func (p *pairs) magnitude(module string, x weights.Tensor) error {
	if len(x.Shape) != 1 || !x.DType.IsWeight() || x.Shape[0] == 0 {
		return fmt.Errorf("%s: tensor %q is %v %v, expected floating-point numbers in 1 dimension", p.path, x.Name, x.DType, x.Shape)
	}
	p.of(module).Magnitude = x.Floats()
	return nil
}

// add puts a matrix, or the stack of one for each expert, in its place. Transposed, they
// are [rank, in] and [out, rank].
func (p *pairs) add(module string, is part, name string, shape []int, values []float32, transposed bool) error {
	experts := 0
	if len(shape) == 3 {
		experts, shape = shape[0], shape[1:]
	}
	rows, cols := shape[0], shape[1]
	if transposed {
		values, rows, cols = transposeEach(values, rows, cols), cols, rows
	}
	u := p.of(module)
	rank := cols
	if is == partA {
		u.A, u.In = values, rows
	} else {
		u.B, u.Out, rank = values, cols, rows
	}
	switch {
	case rank > maxRank:
		return fmt.Errorf("%s: tensor %q is %v: a LoRA of rank %d, expected at most %d", p.path, name, shape, rank, maxRank)
	case u.Rank != 0 && u.Rank != rank:
		return fmt.Errorf("%s: tensor %q is %v, which does not fit rank %d of the other of the two", p.path, name, shape, u.Rank)
	case u.Rank != 0 && u.Experts != experts:
		return fmt.Errorf("%s: tensor %q is for %d experts, the other of the two for %d", p.path, name, experts, u.Experts)
	}
	u.Rank, u.Experts = rank, experts
	return nil
}

// into makes updates of a of whole pairs. scale is what the update of a module is
// multiplied with.
func (p *pairs) into(a *Adapter, scale func(module string, rank int) float32) error {
	for _, module := range slices.Sorted(maps.Keys(p.at)) {
		u := p.at[module]
		if err := u.complete(p.dora); err != nil {
			return fmt.Errorf("%s: %s %w", p.path, module, err)
		}
		u.Scale = scale(module, u.Rank)
		a.held += len(u.A) + len(u.B)
		a.Updates = append(a.Updates, *u)
	}
	if len(a.Updates) == 0 {
		return fmt.Errorf("%s: there is no tensor in it", p.path)
	}
	if err := a.stackExperts(); err != nil {
		return fmt.Errorf("%s: %w", p.path, err)
	}
	slices.SortFunc(a.Updates, byModule)
	for i, u := range a.Updates[1:] {
		if u.Module == a.Updates[i].Module {
			return fmt.Errorf("%s: it has a LoRA for %s, and so for the experts that this consists of", p.path, u.Module)
		}
	}
	return nil
}

func byModule(a, b Update) int { return strings.Compare(a.Module, b.Module) }

// complete refuses an update that lacks a part; the error goes on behind the module's name.
func (u *Update) complete(dora bool) error {
	switch {
	case u.A == nil || u.B == nil:
		return fmt.Errorf("has only one of the two matrices of a LoRA")
	case dora && len(u.Magnitude) != u.Out:
		return fmt.Errorf("is a DoRA from %d to %d with %d magnitudes, expected %d", u.In, u.Out, len(u.Magnitude), u.Out)
	case strings.HasSuffix(strings.TrimSuffix(u.Module, ".base_layer"), ".experts"):
		return fmt.Errorf("has a LoRA of PEFT's target_parameters, which is not supported: %s", parametersRemedy)
	}
	return nil
}
