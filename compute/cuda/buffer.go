package cuda

import (
	"fmt"
	"slices"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/quant"
)

// array is content on the card: what kernels take.
type array struct {
	compute.Spec
	ptr driver.Ptr
}

// rows is the part of an array from row a to row b.
func (a array) rows(from, to int) array {
	row := int64(a.Shape.Cols() * a.DType.Size())
	return array{compute.Spec{Shape: compute.Shape{to - from, a.Shape.Cols()}, DType: a.DType}, a.ptr + driver.Ptr(int64(from)*row)}
}

// buffer is memory of the card.
type buffer struct {
	array
	dev      *Device
	bytes    int64         // taken
	weight   *quant.Matrix // what it was imported from; nil for a buffer of Alloc
	stored   stored        // how a weight lies
	freed    bool
	written  mark     // behind the last op that wrote it; 0: none has
	compiled bool     // programs write it, too, and do not tell when
	tilings  []tiling // of the segments that it bounds, see segmentTiles
}

func (b *buffer) Spec() compute.Spec { return b.array.Spec }

// Free gives the memory back once the work that was queued before is done.
func (b *buffer) Free() {
	d := b.dev
	d.enter()
	defer d.leave()
	if b.freed || d.closed {
		return
	}
	b.freed = true
	b.changed()
	d.release(b.ptr, b.bytes)
}

// Alloc returns a buffer of unspecified content.
func (d *Device) Alloc(shape compute.Shape, t compute.DType) (compute.Buffer, error) {
	spec := compute.Spec{Shape: shape, DType: t}
	if err := spec.Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", d.name, err)
	}
	d.enter()
	defer d.leave()
	ptr, bytes, err := d.memory(spec.Bytes())
	if err != nil {
		return nil, fmt.Errorf("%s: buffer %v: %w", d.name, spec, err)
	}
	return &buffer{array: array{spec, ptr}, dev: d, bytes: bytes}, nil
}

// memory takes bytes of the card, rounded up to whole reads of kernels.
func (d *Device) memory(n int64) (driver.Ptr, int64, error) {
	if d.closed {
		return 0, 0, errClosed
	}
	n = d.kept.size(n)
	if d.drv == nil { // see ledger
		d.used += n
		d.peak = max(d.peak, d.used)
		return dryAddress, n, nil
	}
	if d.collecting != nil {
		if p, ok := d.collecting.take(n); ok {
			return p, n, nil
		}
	}
	p, ok := d.kept.take(n)
	var err error
	if !ok {
		p, ok = d.takeLate(n)
	}
	if !ok {
		p, err = d.drv.Alloc(n, d.stream)
	}
	if driver.Is(err, driver.OutOfMemory) { // kept blocks may be of other sizes
		d.flush()
		for _, k := range d.kept.drain() {
			d.fail(d.drv.Free(k, d.stream))
		}
		d.fail(d.drv.Wait(d.stream))
		d.fail(d.drv.Trim(d.pool))
		p, err = d.drv.Alloc(n, d.stream)
	}
	if err != nil {
		return 0, 0, d.noMemory(n, err)
	}
	d.used += n
	d.peak = max(d.peak, d.used)
	if d.collecting != nil {
		d.collecting.work = append(d.collecting.work, area{p, n})
	}
	return p, n, nil
}

// noMemory is the error of a failed allocation.
func (d *Device) noMemory(n int64, err error) error {
	if !driver.Is(err, driver.OutOfMemory) {
		d.fail(err)
		return d.take()
	}
	free, _ := d.drv.FreeMemory()
	err = fmt.Errorf("%w: %d MiB wanted, %d MiB held, %d of %d MiB free", compute.ErrNoMemory, n>>20, d.used>>20, free>>20, d.card.Memory>>20)
	return fault.Advise(err, "Other programs on the card take memory too: see nvidia-smi. A model of fewer bits takes less, and %s cpu none of the card's.", fault.Setting("device"))
}

func (d *Device) release(p driver.Ptr, n int64) {
	if d.collecting == nil { // a program keeps what it takes
		d.used -= n
	}
	if d.drv == nil {
		return
	}
	if d.waits.begin != nil {
		d.waits.freed = append(d.waits.freed, area{p, n})
		return
	}
	d.giveBack(p, n)
}

// giveBack keeps a block, or gives it to the driver, behind the launches that may use it.
func (d *Device) giveBack(p driver.Ptr, n int64) {
	switch {
	case d.collecting != nil:
		d.collecting.free = append(d.collecting.free, area{p, n})
	case d.kept.keeps(n):
		d.kept.put(p, n)
	case d.trace.holds():
		d.late = append(d.late, area{p, n})
	default:
		d.fail(d.drv.Free(p, d.stream))
	}
}

// takeLate gives a block of the size that waits to go back: launches that are held back come before those of its next buffer.
func (d *Device) takeLate(n int64) (driver.Ptr, bool) {
	i := slices.IndexFunc(d.late, func(a area) bool { return a.bytes == n })
	if i < 0 {
		return 0, false
	}
	p := d.late[i].ptr
	d.late = slices.Delete(d.late, i, i+1)
	return p, true
}

// freeLate gives back what waited for launches, once these are queued.
func (d *Device) freeLate() {
	if len(d.late) == 0 || d.trace.holds() {
		return
	}
	for _, a := range d.late {
		d.fail(d.drv.Free(a.ptr, d.stream))
	}
	d.late = d.late[:0]
}

// Owner, Freed and Imported are for the checks of package compute.

func (b *buffer) Owner() compute.Device   { return b.dev }
func (b *buffer) Freed() bool             { return b.freed }
func (b *buffer) Imported() *quant.Matrix { return b.weight }

// Read waits for the buffer's content and copies it out. A weight is read where it was imported from.
func (d *Device) Read(b compute.Buffer, dst []byte) error {
	d.enter()
	defer d.leave()
	if d.closed {
		return errClosed
	}
	c, err := compute.OwnCopy[*buffer](d, b, len(dst), false)
	if err != nil {
		return err
	}
	if c.weight != nil {
		compute.CopyOut(dst, c.weight)
		return nil
	}
	d.flush()
	if len(dst) > 0 {
		s := d.stream
		if m := d.marks.behind(c); m != 0 {
			s = d.reads
			d.fail(d.drv.StreamWait(s, d.marks.event(m)))
		}
		d.fail(d.drv.CopyOut(dst, c.ptr, s))
		d.fail(d.drv.Wait(s))
	}
	d.checkStatus()
	return d.take()
}

// Write copies host bytes into the buffer. It does not wait for the card unless there are many of them.
func (d *Device) Write(b compute.Buffer, src []byte) error {
	d.enter()
	defer d.leave()
	if d.closed {
		return errClosed
	}
	c, err := compute.OwnCopy[*buffer](d, b, len(src), true)
	if err != nil {
		return err
	}
	d.flush()
	c.changed()
	working := d.look()
	d.fail(d.stage.copyIn(d.drv, c.ptr, src, d.stream))
	if c.written != 0 || c.compiled { // nobody reads back at once what the host alone has written
		d.mark(c)
		d.setMark()
	}
	if !working {
		d.rested()
	}
	return d.take()
}

// A mark is a place in the stream, by its number.
type mark uint64

// marks are events in the stream, behind launches whose results the host may read: it then waits for the mark of what it reads,
// and not for what was queued behind. The events are used in turn. Of a mark whose event is another's by now, that one is later.
type marks struct {
	events [64]driver.Event
	last   mark
	ran    mark // behind the last run of a program
	due    bool // something was launched since
}

func (m *marks) event(n mark) driver.Event { return m.events[n%mark(len(m.events))] }

// behind is the mark behind what wrote a buffer, or a later one; 0: no op has.
func (m *marks) behind(b *buffer) mark {
	if b.compiled {
		return max(b.written, m.ran)
	}
	return b.written
}

// mark notes that a buffer was written by the launches so far, which may be held back.
func (d *Device) mark(b *buffer) { b.written, d.marks.due = d.marks.last+1, true }

// setMark sets the next mark behind what is queued. After an error it is still due.
func (d *Device) setMark() {
	m := &d.marks
	if !m.due || d.err != nil {
		return
	}
	e := &m.events[(m.last+1)%mark(len(m.events))]
	if *e == 0 {
		var err error
		if *e, err = d.drv.NewMark(); err != nil {
			d.fail(err)
			return
		}
	}
	if err := d.drv.Record(*e, d.stream); err != nil {
		d.fail(err)
		return
	}
	m.last++
	m.due = false
}

// behind reports whether the card has yet to come to the last mark.
func (d *Device) behind() bool {
	m := &d.marks
	if m.last == 0 || d.err != nil {
		return false
	}
	reached, err := d.drv.Reached(m.event(m.last))
	d.fail(err)
	return !reached
}

func (m *marks) close(drv *driver.Driver) {
	for _, e := range m.events {
		if e != 0 {
			drv.DestroyEvent(e)
		}
	}
}

// staging is pinned memory through which the host's bytes go to the card without waiting: two halves, each with an event
// behind the last copy from it.
type staging struct {
	memory []byte
	halves [2]driver.Event
	half   int
	at     int // in the half
}

// stagingHalf is the size of a half.
const stagingHalf = 2 << 20

func (s *staging) open(drv *driver.Driver) (err error) {
	if s.memory, err = drv.HostAlloc(2 * stagingHalf); err != nil {
		return err
	}
	for i := range s.halves {
		if s.halves[i], err = drv.NewMark(); err != nil {
			return err
		}
	}
	return nil
}

func (s *staging) close(drv *driver.Driver) {
	for _, e := range s.halves {
		if e != 0 {
			drv.DestroyEvent(e)
		}
	}
	if s.memory != nil {
		drv.HostFree(s.memory)
	}
	s.memory = nil
}

// copyIn copies src to dst in the order of the stream. src may be changed as soon as it returns.
func (s *staging) copyIn(drv *driver.Driver, dst driver.Ptr, src []byte, stream driver.Stream) error {
	for len(src) > 0 {
		if s.at == stagingHalf {
			if err := drv.Record(s.halves[s.half], stream); err != nil {
				return err
			}
			s.half, s.at = 1-s.half, 0
			if err := drv.WaitEvent(s.halves[s.half]); err != nil {
				return err
			}
		}
		at := s.half*stagingHalf + s.at
		n := copy(s.memory[at:(s.half+1)*stagingHalf], src)
		if err := drv.CopyIn(dst, s.memory[at:at+n], stream); err != nil {
			return err
		}
		s.at += (n + 63) &^ 63
		s.at = min(s.at, stagingHalf)
		dst, src = dst+driver.Ptr(n), src[n:]
	}
	return nil
}
