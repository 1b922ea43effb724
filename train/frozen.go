package train

import (
	"fmt"
	"os"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/tensor"
)

// FrozenCache bounds what a run keeps of its frozen layers. When only the last
// blocks are trained, the output of the blocks below them never changes for an
// example: it is computed once and reused in later epochs. Losses are the same to
// the bit: devices that do not compute each example independently of the others in its
// batch (compute.Info's BatchInvariant) keep nothing. Neither does the zero value.
type FrozenCache struct {
	Memory int64  // most bytes in memory
	Disk   int64  // most bytes in a temporary file, used when memory is full
	Dir    string // folder of that file
}

// frozen keeps the output of blocks [0, first) for the examples of one split.
type frozen struct {
	first int
	width int
	small int // the most tokens that are computed anew
	rows  map[int]kept
	store *frozenStore
}

// kept is the output [tokens, width] for one example.
type kept struct {
	tokens int
	values []float32 // nil: in the file at offset
	offset int64
}

// newFrozen returns nil when there is nothing to gain (no frozen block at the bottom, or
// no example that comes again), and where the batch of an example shows in its output.
func newFrozen(m *model.Model, store *frozenStore, again bool) *frozen {
	first, c := m.FirstTrained(), m.Config
	info := m.Device().Info()
	unit := max(info.WidthUnit, 1)
	if store == nil || !again || first == 0 || !info.BatchInvariant || c.HiddenSize%unit != 0 || c.IntermediateSize%unit != 0 {
		return nil
	}
	return &frozen{first: first, width: c.HiddenSize, small: info.SmallBatch, rows: map[int]kept{}, store: store}
}

// below runs a batch through the blocks that are kept, of which there may be none: the
// number of blocks done, and x [T, hidden] behind them.
func (f *frozen) below(t *tensor.Tape, m *model.Model, b *packed, checkpoint bool) (x *tensor.Tensor, pass nn.Pass, done int) {
	if f == nil || len(b.Tokens) <= f.small {
		x, pass = m.Begin(t, b.Batch, nil)
		return x, pass, 0
	}
	if values := f.load(b); values != nil {
		return t.Activations(values, len(b.Tokens), f.width), m.Pass(t, b.Batch, nil), f.first
	}
	in, pass := m.Begin(t, b.Batch, nil)
	x = m.Layers(t, in, pass, 0, f.first, checkpoint)
	t.Done(in)
	f.keep(b, t.Read(x))
	return x, pass, f.first
}

// load assembles the kept output for a batch [T, width]. It is nil when an example
// is missing.
func (f *frozen) load(b *packed) []float32 {
	for i, row := range b.index {
		if k, ok := f.rows[row]; !ok || k.tokens < b.length(i) {
			return nil
		}
	}
	out := make([]float32, len(b.Tokens)*f.width)
	for i, row := range b.index {
		// An example may be one token longer in one batch than in another: mlx-lm's
		// pad target. The model is causal, so the common part is the same.
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

// keep stores the output for the examples that are not kept yet, while there is room.
func (f *frozen) keep(b *packed, values []float32) {
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

// frozenStore is the memory and disk space that the splits of a run share.
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

// put keeps a copy of values. It is false when there is no room.
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

// open makes the file. It loses its name at once, where the system allows that, so
// that nothing is left of it however the run ends.
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

// full ends the use of the disk. The run goes on and computes what is not kept.
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
