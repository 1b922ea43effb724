package cpu

import (
	"fmt"

	"github.com/lentil-lm/lentil/compute"
)

// Run checks the op against its shape rule and runs it to its end.
func (d *Device) Run(op compute.Op, out, in []compute.Buffer) error {
	outs, err := arrays(out)
	if err != nil {
		return fmt.Errorf("%s: %w", op.Name(), err)
	}
	ins, err := arrays(in)
	if err != nil {
		return fmt.Errorf("%s: %w", op.Name(), err)
	}
	for _, b := range out {
		if b.(*buffer).imported {
			return fmt.Errorf("%s: output: %w", op.Name(), errReadOnly)
		}
	}
	if err := compute.Check(op, specs(outs), specs(ins)); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.scratch.release()
	if err := d.dispatch(op, outs, ins); err != nil {
		return fmt.Errorf("%s: %w", op.Name(), err)
	}
	return nil
}

// dispatch calls the op's kernel, or its definition where there is none.
func (d *Device) dispatch(op compute.Op, out, in []compute.Array) error {
	switch o := op.(type) {
	case compute.MatMul:
		return d.matMul(o, out, in)
	case compute.Linear:
		return d.linear(o, out, in)
	case compute.LinearGradInput:
		return d.linearGradInput(o, out, in)
	default:
		op.Define(out, in)
	}
	return nil
}

func arrays(buffers []compute.Buffer) ([]compute.Array, error) {
	a := make([]compute.Array, len(buffers))
	for i, b := range buffers {
		c, err := own(b)
		if err != nil {
			return nil, err
		}
		a[i] = c.Array
	}
	return a, nil
}

func specs(a []compute.Array) []compute.Spec {
	s := make([]compute.Spec, len(a))
	for i := range a {
		s[i] = a[i].Spec
	}
	return s
}
