package train

import (
	"bytes"
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
	Device int64  // most bytes on the device, where its memory is not the host's; used first
	Memory int64  // most bytes in memory
	Disk   int64  // most bytes in a temporary file, used when memory is full
	Dir    string // folder of that file
}

// frozen keeps the output of blocks [0, first) for the examples of one split.
type frozen struct {
	first int
	width int
	dtype compute.DType // of what is kept: that of activations on the device
	small int           // the most tokens that are computed anew
	rows  map[int]kept
	store *frozenStore
}

// kept is the output [tokens, width] for one example.
type kept struct {
	tokens int
	device *tensor.Tensor // nil: on the host
	values []byte         // nil: in the file at offset
	offset int64
}

// newFrozen returns nil when there is nothing to gain (no frozen block at the bottom, or
// no example that comes again), and where the batch of an example shows in its output.
func newFrozen(m *model.Model, store *frozenStore, again bool) *frozen {
	first := m.FirstTrained()
	if store == nil || !again || first == 0 || !batchInvariant(m) {
		return nil
	}
	return &frozen{first: first, width: m.Config.HiddenSize, dtype: max(m.Device().Info().Activations, compute.F32), small: m.Device().Info().SmallBatch, rows: map[int]kept{}, store: store}
}

// batchInvariant tells whether larger batches give each of their examples, to the bit, the same.
func batchInvariant(m *model.Model) bool {
	c, info := m.Config, m.Device().Info()
	unit := max(info.WidthUnit, 1)
	return info.BatchInvariant && c.HiddenSize%unit == 0 && c.IntermediateSize%unit == 0
}

// below runs a batch through the blocks that are kept, of which there may be none: the
// number of blocks done, and x [T, hidden] behind them.
func (f *frozen) below(t *tensor.Tape, m *model.Model, b *packed, checkpoint bool) (x *tensor.Tensor, pass nn.Pass, done int) {
	if f == nil || len(b.Tokens) <= f.small {
		x, pass = m.Begin(t, b.Batch, nil)
		return x, pass, 0
	}
	if x := f.load(t, b); x != nil {
		return x, m.Pass(t, b.Batch, nil), f.first
	}
	in, pass := m.Begin(t, b.Batch, nil)
	x = m.Layers(t, in, pass, 0, f.first, checkpoint)
	t.Done(in)
	f.keep(t, b, x)
	return x, pass, f.first
}

// slow tells whether below would wait for a disk, or for the device to read from it. What is kept in memory goes to the
// device, which may wait for those copies, too: a loss is told late then, and nothing is lost.
func (f *frozen) slow(b *packed) bool {
	if f == nil || len(b.Tokens) <= f.small {
		return false
	}
	left := f.store.left.Device
	for i, row := range b.index {
		k, ok := f.rows[row]
		bytes := compute.Spec{Shape: compute.Shape{b.length(i), f.width}, DType: f.dtype}.Bytes()
		switch {
		case ok && k.tokens >= b.length(i):
			if k.device == nil && k.values == nil {
				return true
			}
		case bytes <= left:
			left -= bytes
		case f.store.room(int(bytes)):
			return true
		}
	}
	return false
}

// load assembles the kept output for a batch [T, width]. It is nil when an example
// is missing.
//
// An example may be one token longer in one batch than in another: mlx-lm's pad target.
// The model is causal, so the common part is the same.
func (f *frozen) load(t *tensor.Tape, b *packed) *tensor.Tensor {
	onDevice := false
	for i, row := range b.index {
		k, ok := f.rows[row]
		if !ok || k.tokens < b.length(i) {
			return nil
		}
		onDevice = onDevice || k.device != nil
	}
	if onDevice {
		return f.loadParts(t, b)
	}
	size := f.width * f.dtype.Size()
	out := make([]byte, len(b.Tokens)*size)
	for i, row := range b.index {
		if !f.copy(out[int(b.Bounds[i])*size:int(b.Bounds[i+1])*size], row) {
			return nil
		}
	}
	return t.Upload(out, f.dtype, len(b.Tokens), f.width)
}

// loadParts is load where examples are on the device; those on the host go there.
func (f *frozen) loadParts(t *tensor.Tape, b *packed) *tensor.Tensor {
	parts, lengths := make([]*tensor.Tensor, len(b.index)), make([]int, len(b.index))
	for i, row := range b.index {
		lengths[i] = b.length(i)
		if parts[i] = f.rows[row].device; parts[i] != nil {
			continue
		}
		values := make([]byte, lengths[i]*f.width*f.dtype.Size())
		if !f.copy(values, row) {
			return nil
		}
		parts[i] = t.Upload(values, f.dtype, lengths[i], f.width)
	}
	return t.Stack(parts, lengths)
}

// copy fills dst with what is kept of an example on the host, its first tokens.
func (f *frozen) copy(dst []byte, row int) bool {
	k := f.rows[row]
	if k.values != nil {
		copy(dst, k.values)
		return true
	}
	if !f.store.read(dst, k.offset) {
		delete(f.rows, row)
		return false
	}
	return true
}

// keep stores the output x [T, width] for the examples that are not kept yet, while there
// is room. It comes to the host only if some of it is to stay there.
func (f *frozen) keep(t *tensor.Tape, b *packed, x *tensor.Tensor) {
	if t.Err() != nil || x.Buffer().Spec().DType != f.dtype {
		return
	}
	var values []byte
	size := f.width * f.dtype.Size()
	for _, i := range f.keepOnDevice(t, b, x) {
		n := b.length(i)
		if t.Err() != nil || !f.store.room(n*size) {
			continue
		}
		if values == nil {
			if values = t.ReadBytes(x); values == nil {
				return // the tape has an error
			}
		}
		if k, ok := f.store.put(values[int(b.Bounds[i])*size : int(b.Bounds[i+1])*size]); ok {
			k.tokens = n
			f.rows[b.index[i]] = k
		}
	}
}

// keepOnDevice is keep on the device. It returns the examples of the batch that are still
// to be kept.
func (f *frozen) keepOnDevice(t *tensor.Tape, b *packed, x *tensor.Tensor) (rest []int) {
	var made []*tensor.Tensor
	var from, rows []int
	for i, row := range b.index {
		n := b.length(i)
		old, ok := f.rows[row]
		if ok && old.tokens >= n {
			continue
		}
		k, ok := f.store.putOnDevice(x, n)
		if !ok {
			rest = append(rest, i)
			continue
		}
		f.store.freeDevice(old)
		f.rows[row] = k
		made, from, rows = append(made, k.device), append(from, int(b.Bounds[i])), append(rows, row)
	}
	if len(made) == 0 {
		return rest
	}
	t.Unstack(made, x, from)
	for i := 0; i < len(rows) && t.Err() != nil; i++ { // they hold nothing
		f.store.freeDevice(f.rows[rows[i]])
		delete(f.rows, rows[i])
	}
	return rest
}

// free gives back what is on the device.
func (f *frozen) free() {
	if f == nil {
		return
	}
	for _, k := range f.rows {
		f.store.freeDevice(k)
	}
	f.rows = nil
}

// frozenStore is the memory and disk space that the splits of a run share.
type frozenStore struct {
	left FrozenCache // what may still be used
	dev  compute.Device
	file *os.File // nil until memory is full
	path string   // of the file while it has a name
	end  int64    // of the file
	warn func(text string)
}

func newFrozenStore(dev compute.Device, limits FrozenCache, warn func(text string)) *frozenStore {
	if limits.Device <= 0 && limits.Memory <= 0 && limits.Disk <= 0 {
		return nil
	}
	return &frozenStore{left: limits, dev: dev, warn: warn}
}

// putOnDevice makes room for n rows like those of x. It is false when there is none.
func (s *frozenStore) putOnDevice(x *tensor.Tensor, n int) (kept, bool) {
	spec := compute.Spec{Shape: compute.Shape{n, x.Cols()}, DType: x.Buffer().Spec().DType}
	if spec.Bytes() > s.left.Device {
		return kept{}, false
	}
	copied, err := tensor.New(s.dev, spec.Shape, spec.DType, nil)
	if err != nil { // others have taken it
		s.left.Device = 0
		return kept{}, false
	}
	s.left.Device -= spec.Bytes()
	return kept{tokens: n, device: copied}, true
}

// freeDevice gives back what k has on the device.
func (s *frozenStore) freeDevice(k kept) {
	if k.device != nil {
		s.left.Device += k.device.Buffer().Spec().Bytes()
		k.device.Free()
	}
}

// room reports whether put has room for n bytes on the host.
func (s *frozenStore) room(n int) bool { return int64(n) <= max(s.left.Memory, s.left.Disk) }

// put keeps a copy of values. It is false when there is no room.
func (s *frozenStore) put(values []byte) (kept, bool) {
	size := int64(len(values))
	if size <= s.left.Memory {
		s.left.Memory -= size
		return kept{values: bytes.Clone(values)}, true
	}
	if size > s.left.Disk || !s.open() {
		return kept{}, false
	}
	if _, err := s.file.WriteAt(values, s.end); err != nil {
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

func (s *frozenStore) read(dst []byte, offset int64) bool {
	_, err := s.file.ReadAt(dst, offset)
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
