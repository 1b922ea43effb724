package tensor

import (
	"errors"
	"fmt"
	"slices"

	"github.com/lentil-lm/lentil/compute"
)

// A Program is ops of a tape that its device has compiled, with the tensors between them.
type Program struct {
	compute.Program
	Result *Tensor // which each run fills anew
	made   []compute.Buffer
}

// program is one that is being made: ops are noted and not run. Tensors that are given back serve again for others of their shape.
type program struct {
	calls []compute.Call
	made  []compute.Buffer
	free  []compute.Buffer
}

// Compile makes a program of the ops that f asks the tape for, and runs none. What f makes lives with the program; what it
// reads and writes beside that outlives it. f neither uploads nor reads anything. Where the device compiles nothing, or not these ops, the
// error is compute.ErrUnsupported; it is not the tape's.
func (t *Tape) Compile(f func() *Tensor) (*Program, error) {
	dev, ok := t.dev.(compute.Compiler)
	if !ok || t.record || t.err != nil {
		return nil, compute.ErrUnsupported
	}
	p, made := &program{}, &Program{}
	t.program = p
	t.Scope(func() *Tensor {
		if y := f(); t.err == nil {
			made.Result = &Tensor{spec: y.spec, buf: y.buf, fixed: true}
		}
		return nil
	})
	t.program, made.made = nil, p.made
	err := t.err
	if err == nil {
		made.Program, err = dev.Compile(p.calls)
	}
	if t.err = nil; err != nil {
		made.Free()
		return nil, err
	}
	return made, nil
}

// Free gives back what the program holds.
func (p *Program) Free() {
	if p.Program != nil {
		p.Program.Free()
	}
	for _, b := range p.made {
		b.Free()
	}
	p.made = nil
}

// Do runs a program.
func (t *Tape) Do(p *Program) {
	if t.err == nil {
		t.fail(p.Run())
	}
}

// alloc makes a buffer of the program, or takes one that is free.
func (p *program) alloc(dev compute.Device, s compute.Spec) (compute.Buffer, error) {
	i := slices.IndexFunc(p.free, func(b compute.Buffer) bool {
		o := b.Spec()
		return o.DType == s.DType && o.Shape.Equal(s.Shape)
	})
	if i >= 0 {
		b := p.free[i]
		p.free = slices.Delete(p.free, i, i+1)
		return b, nil
	}
	b, err := dev.Alloc(s.Shape, s.DType)
	if err == nil {
		p.made = append(p.made, b)
	}
	return b, err
}

// errCompiled is for work that a program cannot have.
var errCompiled = errors.New("a program neither uploads nor reads")

// copies reports whether the tape may copy to and from the device now.
func (t *Tape) copies() bool {
	if t.program != nil {
		t.fail(fmt.Errorf("%w: %w", errCompiled, compute.ErrUnsupported))
	}
	return t.err == nil
}
