package export

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/weights"
)

// autoBits are the widths that AllocateBits chooses from.
var autoBits = []int{2, 3, 4, 5, 6, 8}

// LayerBits is what AllocateBits chose for a module.
type LayerBits struct {
	Module     string  `json:"module"`
	Parameters int64   `json:"parameters"`
	Bits       int     `json:"bits"`
	Error      float64 `json:"error"` // expected divergence from the model as it was, in nats per token
}

// AllocateBits chooses the width of each module that Convert would quantize
// under o, so that the whole model takes target bits for each weight at most,
// scales and what stays dense included, and the sum of the errors is as small as
// one can make it step by step: the next bits go where they buy the most.
func AllocateBits(ctx context.Context, src weights.Source, s *Sensitivity, o ConvertOptions, target float64) ([]LayerBits, error) {
	o.Quantize = true
	a := &allocation{s: s}
	format, err := o.format()
	if err != nil {
		return nil, err
	}
	if format.Kind != quant.Affine || o.Recipe != "" {
		return nil, errors.New("bits are chosen for mode affine without a recipe only")
	}
	c := &conversion{src: src, options: o, format: format, report: &ConvertReport{}, written: map[string]quant.Format{}}
	if c.config, err = model.ReadConfig(src); err != nil {
		return nil, err
	}
	if c.arch, err = c.config.Architecture(); err != nil {
		return nil, fmt.Errorf("%s: %w", src.Path(), err)
	}
	vectors, modules, err := c.split()
	if err != nil {
		return nil, err
	}
	for _, e := range vectors {
		a.fixed += entryBytes(e)
	}
	for _, module := range modules {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := a.add(c, module); err != nil {
			return nil, err
		}
	}
	budget := int64(target*float64(c.report.Parameters)/8) - a.fixed
	if a.bytes() > budget {
		lowest := 8 * float64(a.fixed+a.bytes()) / float64(c.report.Parameters)
		return nil, fault.Value("target_bpw", target, fmt.Sprintf("%.3f or more, the lowest for this model", lowest))
	}
	a.spend(budget)
	return a.layers(), nil
}

// allocation is the state of one AllocateBits.
type allocation struct {
	s       *Sensitivity
	fixed   int64 // bytes of what is not to be chosen
	modules []candidate
}

// candidate is a module with what each width costs it.
type candidate struct {
	module     string
	parameters int64
	bytes      []int64   // by width
	errors     []float64 // by width
	chosen     int       // width
}

// add measures a module in all widths.
func (a *allocation) add(c *conversion, module string) error {
	m, err := c.src.Outline(module)
	if err != nil {
		return err
	}
	to, dtype := c.target(module, m)
	parameters := int64(m.Rows) * int64(m.Cols)
	c.report.Parameters += parameters
	if to.Kind == quant.Dense || !a.s.Has(module) || c.hasOwnBits(module) {
		a.fixed += formatBytes(to, m)
		return nil
	}
	one := candidate{module: module, parameters: parameters}
	for _, bits := range autoBits {
		to.Bits = bits
		one.bytes = append(one.bytes, formatBytes(to, m))
	}
	if m, err = c.src.Matrix(module); err != nil {
		return err
	}
	if one.errors, err = a.s.errors(module, m, to, dtype, c.options.Rule); err != nil {
		return fmt.Errorf("%s: %w", module, err)
	}
	a.modules = append(a.modules, one)
	return nil
}

func formatBytes(f quant.Format, m *quant.Matrix) int64 {
	return int64(f.BitsPerWeight() / 8 * float64(m.Rows) * float64(m.Cols))
}

// errors quantizes m to every width, some rows at a time, and returns the costs.
func (s *Sensitivity) errors(module string, m *quant.Matrix, to quant.Format, dtype quant.DType, rule quant.Rule) ([]float64, error) {
	const blockWeights = 1 << 18
	rows := max(blockWeights/m.Cols, 1)
	blocks := (m.Rows + rows - 1) / rows
	costs := make([][]float64, blocks) // summed in order at the end
	errs := make([]error, blocks)
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(runtime.GOMAXPROCS(0), blocks) {
		wg.Go(func() {
			for b := range next {
				costs[b], errs[b] = s.blockErrors(module, m, b*rows, min((b+1)*rows, m.Rows), to, dtype, rule)
			}
		})
	}
	for b := range blocks {
		next <- b
	}
	close(next)
	wg.Wait()
	sums := make([]float64, len(autoBits))
	for _, c := range costs {
		for i, v := range c {
			sums[i] += v
		}
	}
	return sums, errors.Join(errs...)
}

// blockErrors are the costs of rows [from, to0).
func (s *Sensitivity) blockErrors(module string, m *quant.Matrix, from, end int, to quant.Format, dtype quant.DType, rule quant.Rule) ([]float64, error) {
	n := (end - from) * m.Cols
	w, delta := make([]float32, n), make([]float32, n)
	for r := from; r < end; r++ {
		m.Row(w[(r-from)*m.Cols:(r-from+1)*m.Cols], r)
	}
	out := make([]float64, len(autoBits))
	for i, bits := range autoBits {
		if m.Format.Kind == quant.Affine && m.Format.Bits == bits && m.Format.Group == to.Group {
			continue // Convert keeps these integers
		}
		q, err := quant.QuantizeAffine(w, end-from, m.Cols, bits, to.Group, dtype, rule)
		if err != nil {
			return nil, err
		}
		for r := range end - from {
			q.Row(delta[r*m.Cols:(r+1)*m.Cols], r)
		}
		for k := range delta {
			delta[k] -= w[k]
		}
		out[i] = s.cost(module, from, delta)
	}
	return out, nil
}

func (a *allocation) bytes() (sum int64) {
	for _, c := range a.modules {
		sum += c.bytes[c.chosen]
	}
	return sum
}

// spend raises widths from the lowest until no further step fits the budget. Of
// the steps that fit, to any larger width of any module, the one that takes off
// most error for each byte comes next. Where the errors fall convexly with the
// width, as they do, only the last steps can be short of the optimum.
func (a *allocation) spend(budget int64) {
	left := budget - a.bytes()
	for {
		best, width, gain := -1, 0, 0.0
		for i, c := range a.modules {
			for k := c.chosen + 1; k < len(autoBits); k++ {
				bytes := c.bytes[k] - c.bytes[c.chosen]
				if g := (c.errors[c.chosen] - c.errors[k]) / float64(bytes); bytes <= left && g > gain {
					best, width, gain = i, k, g
				}
			}
		}
		if best < 0 {
			return
		}
		c := &a.modules[best]
		left -= c.bytes[width] - c.bytes[c.chosen]
		c.chosen = width
	}
}

func (a *allocation) layers() []LayerBits {
	out := make([]LayerBits, len(a.modules))
	for i, c := range a.modules {
		out[i] = LayerBits{c.module, c.parameters, autoBits[c.chosen], c.errors[c.chosen]}
	}
	slices.SortStableFunc(out, func(x, y LayerBits) int {
		return cmp.Or(cmp.Compare(layerOf(x.Module), layerOf(y.Module)), strings.Compare(x.Module, y.Module))
	})
	return out
}
