package train

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/lentil-lm/lentil/dataset"
)

// Example is one tokenised example.
type Example struct {
	IDs []int32
	// Loss are half-open ranges of indices into IDs: the tokens to be predicted.
	// Index 0 is never predicted.
	Loss [][2]int
	// Hold are ranges of tokens whose prediction is to stay near the base's, for Near.
	Hold [][2]int
	// Offset is the first token of the answer, for objectives that tell it from the prompt.
	Offset int
	// Others are sequences that belong to it and are in its batch: the rejected answer of a pair.
	Others []Example
}

// Examples is a split of the data, tokenised on demand. One with a method
// Where(i int) string names example i so in errors.
type Examples interface {
	Len() int
	Example(i int) (Example, error)
}

// List is a split in memory.
type List []Example

// Len is the number of examples.
func (l List) Len() int { return len(l) }

// Example returns example i.
func (l List) Example(i int) (Example, error) { return l[i], nil }

// FromRows makes the rows of a dataset the examples of a run; nil rows are no examples.
func FromRows(rows *dataset.Rows) Examples {
	if rows == nil {
		return List(nil)
	}
	return datasetRows{rows}
}

type datasetRows struct{ *dataset.Rows }

func (r datasetRows) Example(i int) (Example, error) {
	item, err := r.Item(i)
	e := Example{IDs: item.IDs, Loss: item.Loss, Offset: item.Offset}
	if other := item.Rejected; other != nil {
		e.Others = []Example{{IDs: other.IDs, Loss: other.Loss, Offset: other.Offset}}
	}
	return e, err
}

// Hash tells examples from others, by their tokens and what of them is learnt.
func Hash(examples Examples) (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, examples.Len())
	for i := range examples.Len() {
		e, err := examples.Example(i)
		if err != nil {
			return "", err
		}
		if err := e.hash(hash); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

func (e *Example) hash(w io.Writer) error {
	fmt.Fprintln(w, len(e.IDs), e.Loss, e.Offset, len(e.Others))
	if err := binary.Write(w, binary.LittleEndian, e.IDs); err != nil {
		return err
	}
	for i := range e.Others {
		if err := e.Others[i].hash(w); err != nil {
			return err
		}
	}
	return nil
}
