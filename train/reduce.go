package train

import (
	"errors"
	"fmt"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/run"
)

// A Reduce joins workers that train one model: each has its own copy of it and takes every
// size-th row of each batch. Losses and weights are those of one worker, but for the order
// in which numbers are added, and for dropout, whose random numbers are each worker's own.
//
// All workers make the same calls in the same order. A sum is added up in the order of the
// ranks, so that all get the same bits.
type Reduce interface {
	// Rank is this worker's number, from 0, and how many there are. Number 0 saves.
	Rank() (rank, size int)
	// Sum replaces numbers by their sums over all workers.
	Sum(numbers []float64) error
	// SumGradients does so with buffers of F32, as many and as large ones everywhere.
	SumGradients(dev compute.Device, gradients []compute.Buffer) error
	// Leave ends the work of all: calls of the others that wait, and their next ones, fail.
	Leave(err error)
}

// ErrWorker says that another worker has failed.
var ErrWorker = errors.New("another worker has failed")

// together tells whether there are other workers.
func (tr *Trainer) together() bool {
	_, size := tr.rank()
	return size > 1
}

func (tr *Trainer) rank() (rank, size int) { return rankOf(tr.Reduce) }

func rankOf(r Reduce) (rank, size int) {
	if r == nil {
		return 0, 1
	}
	return r.Rank()
}

// share is what a worker takes of a batch: each size-th, as in mlx-lm.
func share(index []int, r Reduce) []int {
	rank, size := rankOf(r)
	if size == 1 {
		return index
	}
	var out []int
	for i := rank; i < len(index); i += size {
		out = append(out, index[i])
	}
	return out
}

// meet checks that all workers are to do the same.
func (tr *Trainer) meet(s *state) error {
	if !tr.together() {
		return nil
	}
	rank, size := tr.rank()
	if o := tr.Options; o.CompatMLX && o.BatchSize%size != 0 {
		return fault.Value("batch_size", o.BatchSize, fmt.Sprintf("a multiple of the %d workers", size))
	}
	valid := 0
	if tr.hasValid() {
		valid = tr.Valid.Len()
	}
	var elements int
	for _, p := range tr.params {
		elements += p.Shape().Elems()
	}
	own := []float64{float64(tr.Train.Len()), float64(valid), float64(elements), float64(tr.Options.Iters), float64(s.result.Iterations)}
	all := make([]float64, len(own)*size)
	copy(all[len(own)*rank:], own)
	if err := tr.Reduce.Sum(all); err != nil {
		return err
	}
	for i, what := range []string{"rows of the training set", "rows of the validation set", "numbers that are trained", "iterations to do", "iterations done"} {
		for other := range size {
			if n := all[len(own)*other+i]; n != own[i] {
				return fmt.Errorf("worker %d has %g %s, and worker %d %g: all need the same model, data and settings", other, n, what, rank, own[i])
			}
		}
	}
	return nil
}

// mostSums is how many figures of an objective workers add up.
const mostSums = 16

// sumMeasure makes a worker's measure of its share that of all, and its wishes those that any has.
func sumMeasure(r Reduce, own measure, mlx bool, wishes ...bool) (measure, []bool, error) {
	const fixed = 4
	numbers := make([]float64, fixed+mostSums+len(wishes))
	if own.units > 0 {
		weight := float64(own.units)
		numbers[0], numbers[1], numbers[2] = own.loss*weight, weight, float64(own.tokens)
		if _, size := r.Rank(); mlx {
			numbers[3] = own.loss / float64(size) // a mean of means
		}
		for i, f := range own.figures[:min(len(own.figures), mostSums)] {
			numbers[fixed+i] = f.Value * weight
		}
	}
	for i, wish := range wishes {
		if wish {
			numbers[fixed+mostSums+i] = 1
		}
	}
	if err := r.Sum(numbers); err != nil {
		return own, nil, err
	}
	all := measure{units: int(numbers[1]), tokens: int(numbers[2])}
	if all.units > 0 {
		all.loss = numbers[0] / numbers[1]
		if mlx {
			all.loss = numbers[3]
		}
		for i, f := range own.figures[:min(len(own.figures), mostSums)] {
			all.figures = append(all.figures, run.Figure{Name: f.Name, Value: numbers[fixed+i] / numbers[1]})
		}
	}
	wished := make([]bool, len(wishes))
	for i := range wished {
		wished[i] = numbers[fixed+mostSums+i] > 0
	}
	return all, wished, nil
}

// learnTogether is learn with other workers, whose loss of the batch it is, too. Before an update
// all know that all have come that far.
func (tr *Trainer) learnTogether(s *state, m *microStep, due bool, lr float64) (measure, error) {
	abandoned := errors.Is(m.failed, ErrInterrupted)
	if m.failed != nil && !abandoned {
		return measure{}, m.failed
	}
	own, err := tr.measure(&m.batch, m.left)
	if err != nil {
		return own, err
	}
	all, wished, err := sumMeasure(tr.Reduce, own, tr.Options.CompatMLX, abandoned, tr.ending())
	if err != nil {
		return all, err
	}
	s.waiting.units += all.units - own.units
	if tr.stopping = wished[1]; wished[0] {
		tr.dropGradients(s)
		return all, ErrInterrupted
	}
	if !all.sound() {
		tr.dropGradients(s)
		return all, nil
	}
	if !due {
		return all, nil
	}
	if err = tr.update(s, lr, nil); err == nil {
		err = tr.norm.read(&all)
	}
	if err == nil && !all.sound() {
		s.updates.takeBack()
	}
	return all, err
}

// reduce makes the gradients of this worker those of all. Where one has none, as nothing of
// its share was to be learnt, it takes part with zeros; what no worker has stays away.
func (tr *Trainer) reduce() error {
	present := make([]float64, len(tr.params))
	for i, p := range tr.params {
		if p.Grad() != nil {
			present[i] = 1
		}
	}
	if err := tr.Reduce.Sum(present); err != nil {
		return err
	}
	dev := tr.Model.Device()
	var gradients []compute.Buffer
	for i, p := range tr.params {
		if present[i] == 0 {
			continue
		}
		g, err := p.FillGrad(dev)
		if err != nil {
			return fmt.Errorf("gradient of %s: %w", p.Name, err)
		}
		gradients = append(gradients, g)
	}
	return tr.Reduce.SumGradients(dev, gradients)
}

// gatherKeys gives each worker's key of dropout to all.
func (tr *Trainer) gatherKeys(own compute.Key) ([]compute.Key, error) {
	rank, size := tr.rank()
	if size == 1 {
		return []compute.Key{own}, nil
	}
	words := make([]float64, 2*size)
	words[2*rank], words[2*rank+1] = float64(own[0]), float64(own[1])
	if err := tr.Reduce.Sum(words); err != nil {
		return nil, err
	}
	keys := make([]compute.Key, size)
	for i := range keys {
		keys[i] = compute.Key{uint32(words[2*i]), uint32(words[2*i+1])}
	}
	return keys, nil
}

// dropoutKey is what a worker's dropout begins with.
func dropoutKey(seed uint64, rank int) compute.Key {
	next, key := compute.NewKey(seed ^ dropoutStream).Split()
	if rank > 0 {
		words := next.Bits(2 * (rank + 1))
		key = compute.Key{words[2*rank], words[2*rank+1]}
	}
	return key
}

// SumOnHost is a Reduce.SumGradients by way of the host: sum is given all gradients, one
// behind the other.
func SumOnHost(dev compute.Device, gradients []compute.Buffer, sum func(all []float32) error) error {
	n := 0
	for _, g := range gradients {
		n += g.Spec().Shape.Elems()
	}
	all := make([]float32, n)
	rest := all
	for _, g := range gradients {
		n := g.Spec().Shape.Elems()
		if err := dev.Read(g, compute.FloatBytes(rest[:n])); err != nil {
			return err
		}
		rest = rest[n:]
	}
	if err := sum(all); err != nil {
		return err
	}
	rest = all
	for _, g := range gradients {
		n := g.Spec().Shape.Elems()
		if err := dev.Write(g, compute.FloatBytes(rest[:n])); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}
