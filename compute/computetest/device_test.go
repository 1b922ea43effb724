package computetest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
)

// reference is a device that runs the definitions. The suite must pass on it, and must
// not with a fault.
type reference struct {
	activations compute.DType
	// fault changes what an op left in its outputs.
	fault func(op compute.Op, out, in []compute.Array)
}

type hostBuffer struct {
	compute.Array
	imported bool
}

func (b *hostBuffer) Spec() compute.Spec { return b.Array.Spec }
func (b *hostBuffer) Free()              {}

func (d *reference) Info() compute.Info {
	return compute.Info{Name: "reference", Activations: d.activations, Repeatable: true}
}

func (d *reference) Alloc(shape compute.Shape, t compute.DType) (compute.Buffer, error) {
	s := compute.Spec{Shape: shape, DType: t}
	if err := s.Check(); err != nil {
		return nil, err
	}
	if s.Bytes() > 1<<32 {
		return nil, compute.ErrNoMemory
	}
	return &hostBuffer{Array: zeros(s)}, nil
}

func (d *reference) ImportWeight(m *quant.Matrix) (compute.Buffer, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	data := slices.Concat(m.Data, m.Scales, m.Biases)
	return &hostBuffer{Array: compute.Array{Spec: compute.WeightOf(m).Spec(), Data: data, Matrix: m}, imported: true}, nil
}

func (d *reference) Run(op compute.Op, out, in []compute.Buffer) error {
	outs, ins := arraysOf(out), arraysOf(in)
	if err := compute.Check(op, specsOf(outs), specsOf(ins)); err != nil {
		return err
	}
	for _, b := range out {
		if b.(*hostBuffer).imported {
			return fmt.Errorf("%s: output is read-only", op.Name())
		}
	}
	for i, a := range ins {
		if a.Matrix != nil {
			if err := compute.CheckWeight(op, i, a.Matrix); err != nil {
				return err
			}
		}
	}
	op.Define(outs, ins)
	if d.fault != nil {
		d.fault(op, outs, ins)
	}
	return nil
}

func arraysOf(buffers []compute.Buffer) []compute.Array {
	a := make([]compute.Array, len(buffers))
	for i, b := range buffers {
		a[i] = b.(*hostBuffer).Array
	}
	return a
}

func (d *reference) Supports(compute.Op, []compute.Spec) bool { return true }

func (d *reference) Read(b compute.Buffer, dst []byte) error {
	return transfer(dst, b.(*hostBuffer).Data)
}

func (d *reference) Write(b compute.Buffer, src []byte) error {
	if b.(*hostBuffer).imported {
		return fmt.Errorf("buffer is read-only")
	}
	return transfer(b.(*hostBuffer).Data, src)
}

func transfer(dst, src []byte) error {
	if len(dst) != len(src) {
		return fmt.Errorf("%d bytes given, want %d", len(dst), len(src))
	}
	copy(dst, src)
	return nil
}

func (d *reference) Sync() error { return nil }

func (d *reference) Memory() (used, peak int64) { return 0, 0 }
func (d *reference) Close() error               { return nil }

func TestAsync(t *testing.T) {
	dev := NewAsync(&reference{})
	checkBuffers(t, dev)
	checkErrors(t, dev)
	for _, c := range some(cases(), 40) {
		c.check(t, dev)
	}
	if c := dev.Take(); c.Reads == 0 || c.Runs == 0 || c.Writes == 0 || len(c.Behind) != c.Reads || len(c.Ops) != c.Runs {
		t.Errorf("counted %d reads, %d runs, %d writes", c.Reads, c.Runs, c.Writes)
	}
	if err := dev.Close(); err != nil {
		t.Error(err)
	}
}

func TestReference(t *testing.T) {
	Run(t, &reference{})
	for _, activations := range []compute.DType{compute.BF16, compute.F16} {
		t.Run(activations.String(), func(t *testing.T) { RunSome(t, &reference{activations: activations}, 24) })
	}
}
