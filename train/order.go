package train

import (
	"fmt"

	"github.com/lentil-lm/lentil/fault"
)

// An order goes through the examples of a split in batches, pass after pass. Each
// example comes once in a pass, in shuffled order. With mlx a batch is consecutive
// examples, the batches are shuffled, and a last partial batch is dropped.
type order struct {
	examples, size int // of the split, and of a batch
	mlx            bool
	permutation    []int // of this pass: of its batches under mlx, else of its examples
	at             int   // how many of the permutation are done
}

// newOrder checks the split against the batch size, as mlx-lm does.
func newOrder(examples Examples, split string, size int, mlx bool) (order, error) {
	o := order{examples: examples.Len(), size: size, mlx: mlx}
	switch {
	case size < 1:
		return o, fault.Value("batch_size", size, "1 or more")
	case o.examples == 0:
		return o, fmt.Errorf("%s set: it has no rows with a token to learn", split)
	case mlx && o.examples < size:
		return o, fault.At("batch_size", "%s set: must have at least batch_size=%d examples but only has %d", split, size, o.examples).Try("Add rows or give a smaller one.")
	}
	return o, nil
}

// batches counts the batches of a pass.
func (o *order) batches() int {
	if o.mlx {
		return o.examples / o.size
	}
	return (o.examples + o.size - 1) / o.size
}

// length is how long a permutation is.
func (o *order) length() int {
	if o.mlx {
		return o.batches()
	}
	return o.examples
}

// next returns the numbers of the examples in the next batch. The first batch of a
// pass draws its permutation.
func (o *order) next(random *numpyRandom) []int {
	if o.at == len(o.permutation) {
		o.permutation, o.at = random.Permutation(o.length()), 0
	}
	if !o.mlx {
		first := o.at
		o.at = min(first+o.size, o.examples)
		return o.permutation[first:o.at]
	}
	batch := make([]int, o.size)
	for i := range batch {
		batch[i] = o.permutation[o.at]*o.size + i
	}
	o.at++
	return batch
}
