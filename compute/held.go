package compute

import (
	"errors"
	"fmt"
	"slices"

	"github.com/lentil-lm/lentil/quant"
)

// Why a device refuses a buffer.
var (
	ErrForeign  = errors.New("buffer of another device")
	ErrFreed    = errors.New("buffer was freed")
	ErrReadOnly = errors.New("buffer is a weight and read-only")
)

// Held is a device's own buffer, as the checks see it that every device makes. A device locks itself before it makes them.
type Held interface {
	Buffer
	Owner() Device
	Freed() bool
	Imported() *quant.Matrix // what a weight was imported from, nil for a buffer of Alloc
}

// Own returns a device's view of a buffer.
func Own[B Held](dev Device, b Buffer) (B, error) {
	c, ok := b.(B)
	switch {
	case !ok || c.Owner() != dev:
		return c, ErrForeign
	case c.Freed():
		return c, ErrFreed
	}
	return c, nil
}

// OwnCopy returns a device's view of a buffer that n bytes are read from or written to.
func OwnCopy[B Held](dev Device, b Buffer, n int, write bool) (B, error) {
	c, err := Own[B](dev, b)
	if err == nil && int64(n) != c.Spec().Bytes() {
		err = fmt.Errorf("%d bytes given for buffer %v, which has %d", n, c.Spec(), c.Spec().Bytes())
	}
	if err == nil && write && c.Imported() != nil {
		err = ErrReadOnly
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", dev.Info().Name, err)
	}
	return c, err
}

// Operands are the buffers of an op.
type Operands[B Held] struct {
	Out, In           []B
	OutSpecs, InSpecs []Spec
}

// OwnOperands returns a device's view of an op's buffers. They fit its shape rule and its weight, and outputs are no weights.
func OwnOperands[B Held](dev Device, op Op, out, in []Buffer) (o Operands[B], err error) {
	err = o.Own(dev, op, out, in)
	return o, err
}

// Own is OwnOperands into the lists that o has: a device that keeps an o for one op after another makes no new ones.
func (o *Operands[B]) Own(dev Device, op Op, out, in []Buffer) (err error) {
	if o.Out, o.OutSpecs, err = ownAll(dev, out, o.Out[:0], o.OutSpecs[:0]); err != nil {
		return fmt.Errorf("%s: output: %w", op.Name(), err)
	}
	if o.In, o.InSpecs, err = ownAll(dev, in, o.In[:0], o.InSpecs[:0]); err != nil {
		return fmt.Errorf("%s: input: %w", op.Name(), err)
	}
	for _, b := range o.Out {
		if b.Imported() != nil {
			return fmt.Errorf("%s: output: %w", op.Name(), ErrReadOnly)
		}
	}
	if err := Check(op, o.OutSpecs, o.InSpecs); err != nil {
		return err
	}
	for i, b := range o.In {
		if m := b.Imported(); m != nil {
			if err := CheckWeight(op, i, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// Forget clears the lists, so that they keep no buffer.
func (o *Operands[B]) Forget() {
	clear(o.Out)
	clear(o.In)
	clear(o.OutSpecs)
	clear(o.InSpecs)
}

// ownAll adds a device's view of buffers to lists.
func ownAll[B Held](dev Device, list []Buffer, own []B, specs []Spec) ([]B, []Spec, error) {
	own, specs = slices.Grow(own, len(list)), slices.Grow(specs, len(list))
	for _, b := range list {
		c, err := Own[B](dev, b)
		if err != nil {
			return own, specs, err
		}
		own, specs = append(own, c), append(specs, c.Spec())
	}
	return own, specs, nil
}

// CopyOut copies a weight's bytes as Read gives them.
func CopyOut(dst []byte, m *quant.Matrix) {
	n := copy(dst, m.Data)
	n += copy(dst[n:], m.Scales)
	copy(dst[n:], m.Biases)
}
