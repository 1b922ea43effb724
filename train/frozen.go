package train

import (
	"fmt"
	"os"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/tensor"
)

// FrozenCache bounds what a run keeps of its frozen layers: with the last
// blocks trained, what the blocks below them give for a row never changes, so
// it is computed when the row first comes and reused from then on. Losses are
// the same to the bit, because on the CPU what a row gives does not depend on
// the rows it is packed with. The zero value keeps nothing.
type FrozenCache struct {
	Memory int64  // most bytes in memory
	Disk   int64  // most bytes in a temporary file, once memory is full
	Dir    string // folder of that file
}

// fewTokens is up to how many tokens devices take other ways through a product
// or an attention, which round differently. Such batches go past the cache.
const fewTokens = 32

// widthUnit is what the model's widths must be multiples of: a vector kernel
// computes what is left over at an array's end in another way, and where an
// array ends depends on the batch.
const widthUnit = 16

// frozen keeps what blocks [0, first) give for the rows of one split.
type frozen struct {
	first int
	width int
	rows  map[int]kept
	store *frozenStore
}

// kept is a row's output [tokens, width].
type kept struct {
	tokens int
	values []float32 // nil: in the file at offset
	offset int64
}

// newFrozen returns nil when there is nothing to gain: no frozen block at the
// bottom, or rows that do not come again.
func newFrozen(m *model.Model, store *frozenStore, again bool) *frozen {
	first, c := m.FirstTrained(), m.Config
	if store == nil || !again || first == 0 || c.HiddenSize%widthUnit != 0 || c.IntermediateSize%widthUnit != 0 {
		return nil
	}
	return &frozen{first: first, width: c.HiddenSize, rows: map[int]kept{}, store: store}
}

// forward runs a batch through all blocks: [T, hidden].
func (f *frozen) forward(t *tensor.Tape, m *model.Model, b packed, checkpoint bool) *tensor.Tensor {
	if f == nil || len(b.Tokens) <= fewTokens {
		x, pass := m.Begin(t, b.Batch, nil)
		return m.Layers(t, x, pass, 0, len(m.Blocks), checkpoint)
	}
	var x *tensor.Tensor
	var pass nn.Pass
	if values := f.load(b); values != nil {
		x, pass = t.Floats(values, len(b.Tokens), f.width), m.Pass(t, b.Batch, nil)
	} else {
		var in *tensor.Tensor
		in, pass = m.Begin(t, b.Batch, nil)
		x = m.Layers(t, in, pass, 0, f.first, checkpoint)
		t.Done(in)
		f.keep(b, t.Read(x))
	}
	return m.Layers(t, x, pass, f.first, len(m.Blocks), checkpoint)
}

// load puts the rows of a batch together [T, width], nil when one is missing.
func (f *frozen) load(b packed) []float32 {
	for i, row := range b.index {
		if k, ok := f.rows[row]; !ok || k.tokens < b.length(i) {
			return nil
		}
	}
	out := make([]float32, len(b.Tokens)*f.width)
	for i, row := range b.index {
		// A row is longer here than there when mlx-lm's pad target follows it or
		// not; the model is causal, so the beginning is the same.
		part := out[int(b.Bounds[i])*f.width : int(b.Bounds[i+1])*f.width]
		k := f.rows[row]
		if k.values != nil {
			copy(part, k.values)
		} else if !f.store.read(part, k.offset) {
			delete(f.rows, row)
			return nil
		}
	}
	return out
}

// keep stores the rows of a batch that are not there yet, as far as there is room.
func (f *frozen) keep(b packed, values []float32) {
	if values == nil {
		return // the tape has an error
	}
	for i, row := range b.index {
		n := b.length(i)
		if k, ok := f.rows[row]; ok && k.tokens >= n {
			continue
		}
		if k, ok := f.store.put(values[int(b.Bounds[i])*f.width : int(b.Bounds[i+1])*f.width]); ok {
			k.tokens = n
			f.rows[row] = k
		}
	}
}

// frozenStore is the room that the splits of a run share.
type frozenStore struct {
	left FrozenCache // what may still be used
	file *os.File    // nil until memory is full
	path string      // of the file while it has a name
	end  int64       // of the file
	warn func(text string)
}

func newFrozenStore(limits FrozenCache, warn func(text string)) *frozenStore {
	if limits.Memory <= 0 && limits.Disk <= 0 {
		return nil
	}
	return &frozenStore{left: limits, warn: warn}
}

// put keeps a copy of values, or says that there is no room.
func (s *frozenStore) put(values []float32) (kept, bool) {
	size := int64(4 * len(values))
	if size <= s.left.Memory {
		s.left.Memory -= size
		return kept{values: append([]float32(nil), values...)}, true
	}
	if size > s.left.Disk || !s.open() {
		return kept{}, false
	}
	if _, err := s.file.WriteAt(compute.FloatBytes(values), s.end); err != nil {
		s.full(err)
		return kept{}, false
	}
	k := kept{offset: s.end}
	s.end += size
	s.left.Disk -= size
	return k, true
}

// open makes the file. Where the system allows, it has no name from the start,
// so that nothing is left of it however the run ends.
func (s *frozenStore) open() bool {
	if s.file != nil {
		return true
	}
	file, err := os.CreateTemp(s.left.Dir, ".frozen-*.tmp")
	if err != nil {
		s.full(err)
		return false
	}
	s.file, s.path = file, file.Name()
	if os.Remove(s.path) == nil {
		s.path = ""
	}
	return true
}

// full ends the use of the disk: the run goes on and computes what is not kept.
func (s *frozenStore) full(err error) {
	s.left.Disk = 0
	s.warn(fmt.Sprintf("no more outputs of frozen layers are kept on disk, so epochs take longer: %v", err))
}

func (s *frozenStore) read(dst []float32, offset int64) bool {
	_, err := s.file.ReadAt(compute.FloatBytes(dst), offset)
	if err != nil {
		s.warn(fmt.Sprintf("outputs of frozen layers are computed again: %v", err))
	}
	return err == nil
}

// close gives the disk back.
func (s *frozenStore) close() {
	if s == nil || s.file == nil {
		return
	}
	s.file.Close() // scratch: nothing can be lost
	if s.path != "" {
		os.Remove(s.path)
	}
}
