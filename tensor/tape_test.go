package tensor_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cpu"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/tensor"
)

// TestCheckpointChangesNothing compares losses and gradients bit for bit: the
// same ops run on the same numbers, the dropout masks included.
func TestCheckpointChangesNothing(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	plain, again := newBench(t, dev), newBench(t, dev)
	wantLoss, want := plain.run(residual(plain, false), true)
	loss, got := again.run(residual(again, true), true)
	if loss != wantLoss {
		t.Errorf("loss %v with checkpoints, %v without", loss, wantLoss)
	}
	for i := range want {
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("parameter %d: gradients differ:\n%v\n%v", i, got[i], want[i])
		}
	}
}

// TestGradientsAddUp takes the gradient of a graph twice: the second adds to the first.
func TestGradientsAddUp(t *testing.T) {
	t.Parallel()
	for name, build := range graphs {
		b := newBench(t, newCPU(t))
		g := build(b)
		_, once := b.run(g, true)
		_, twice := b.run(g, true)
		for i := range once {
			for k := range once[i] {
				if want := 2 * once[i][k]; !(math.Abs(float64(twice[i][k]-want)) <= 1e-5*math.Abs(float64(want))+1e-6) {
					t.Fatalf("%s: parameter %d, element %d: %g after two passes, %g after one", name, i, k, twice[i][k], once[i][k])
				}
			}
		}
		for _, p := range b.params {
			p.ZeroGrad()
		}
		if _, fresh := b.run(g, true); !slices.EqualFunc(fresh, once, slices.Equal[[]float32]) {
			t.Errorf("%s: after ZeroGrad the gradients differ from the first ones", name)
		}
	}
}

// used is what a device holds now.
func used(dev *cpu.Device) int64 {
	n, _ := dev.Memory()
	return n
}

// freeGradients gives back what Backward leaves on purpose.
func (b *bench) freeGradients() {
	for _, p := range b.params {
		p.FreeGrad()
	}
}

func TestNothingIsLeaked(t *testing.T) {
	t.Parallel()
	for name, build := range graphs {
		dev := newCPU(t)
		b := newBench(t, dev)
		g := build(b)
		before := used(dev)
		b.run(g, true)
		b.freeGradients()
		if after := used(dev); after != before {
			t.Errorf("%s: %d bytes held after a pass, %d before", name, after, before)
		}
		b.run(g, false)
		b.freeGradients()
		if after := used(dev); after != before {
			t.Errorf("%s: %d bytes held after a forward pass and Reset, %d before", name, after, before)
		}
	}
}

// faulty fails at the call numbered at, counting Alloc, Run, Read and Write.
type faulty struct {
	compute.Device
	at, calls int
}

func (f *faulty) fault() error {
	if f.calls++; f.calls-1 == f.at {
		return compute.ErrNoMemory
	}
	return nil
}

func (f *faulty) Alloc(s compute.Shape, t compute.DType) (compute.Buffer, error) {
	if err := f.fault(); err != nil {
		return nil, err
	}
	return f.Device.Alloc(s, t)
}

func (f *faulty) Run(op compute.Op, out, in []compute.Buffer) error {
	if err := f.fault(); err != nil {
		return err
	}
	return f.Device.Run(op, out, in)
}

func (f *faulty) Read(b compute.Buffer, dst []byte) error {
	if err := f.fault(); err != nil {
		return err
	}
	return f.Device.Read(b, dst)
}

func (f *faulty) Write(b compute.Buffer, src []byte) error {
	if err := f.fault(); err != nil {
		return err
	}
	return f.Device.Write(b, src)
}

// TestEveryFault lets each call to the device fail once: the error comes out,
// nothing panics and nothing stays allocated.
func TestEveryFault(t *testing.T) {
	t.Parallel()
	for name, build := range graphs {
		dev := newCPU(t)
		b := newBench(t, dev)
		g := build(b)
		before := used(dev)
		for at := 0; ; at++ {
			f := &faulty{Device: dev, at: at}
			tape := tensor.NewTape(f)
			tape.Reset(true)
			tape.Scope(func() *tensor.Tensor { tape.Read(g(tape)); return nil })
			err := tape.Backward()
			b.freeGradients()
			if after := used(dev); after != before {
				t.Fatalf("%s: %d bytes held after call %d failed, %d before", name, after, at, before)
			}
			if f.calls <= at {
				if err != nil {
					t.Errorf("%s: without a fault: %v", name, err)
				}
				break
			}
			if !errors.Is(err, compute.ErrNoMemory) {
				t.Fatalf("%s: call %d failed, the tape says %v", name, at, err)
			}
		}
	}
}

func TestErrorSticksUntilReset(t *testing.T) {
	t.Parallel()
	tape := tensor.NewTape(newCPU(t))
	first := errors.New("first")
	tape.Scope(func() *tensor.Tensor {
		x := tape.Floats([]float32{1, 2}, 1, 2)
		tape.Fail(first)
		tape.Fail(errors.New("second"))
		if y := tape.Read(tape.Add(x, x)); y != nil {
			t.Errorf("an op after the error gave %v", y)
		}
		return nil
	})
	if tape.Err() != first {
		t.Errorf("the tape's error is %v, want the first", tape.Err())
	}
	tape.Reset(false)
	tape.Scope(func() *tensor.Tensor {
		x := tape.Floats([]float32{1, 2}, 1, 2)
		if y := tape.Read(tape.Add(x, x)); !slices.Equal(y, []float32{2, 4}) {
			t.Errorf("after Reset 2x is %v", y)
		}
		return nil
	})
}

func TestMisuseIsAnError(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	if _, err := tensor.NewFloats(dev, compute.Shape{2, 2}, []float32{1}); err == nil {
		t.Error("a tensor of four elements took one value")
	}
	if _, err := tensor.New(dev, compute.Shape{-1}, compute.F32, nil); err == nil {
		t.Error("a negative extent was taken")
	}
	bad := &quant.Matrix{Format: quant.Format{Kind: quant.Dense, DType: quant.F32}, Rows: 2, Cols: 2, Data: make([]byte, 3)}
	if _, err := tensor.ImportWeight(dev, bad); err == nil {
		t.Error("a matrix with too few bytes was imported")
	}
	tape := tensor.NewTape(dev)
	tape.Scope(func() *tensor.Tensor {
		tape.Add(tape.Floats([]float32{1}), tape.Floats([]float32{1, 2}))
		return nil
	})
	if tape.Err() == nil {
		t.Error("tensors of two shapes were added")
	}
}

// TestScopesFreeEarly counts what lives at each point.
func TestScopesFreeEarly(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	const n = 1 << 12 // floats: 16 KiB, which is no more than it takes
	tape := tensor.NewTape(dev)
	live := func() int64 { return used(dev) / (4 * n) }
	tape.Scope(func() *tensor.Tensor {
		x := tape.Floats(make([]float32, n), 1, n)
		y := tape.Scope(func() *tensor.Tensor {
			a := tape.Add(x, x)
			b := tape.Add(a, a)
			if live() != 3 {
				t.Errorf("inside: %d tensors live, want 3", live())
			}
			tape.Done(a)
			if live() != 2 {
				t.Errorf("after Done: %d tensors live, want 2", live())
			}
			return tape.Add(b, b)
		})
		if live() != 2 {
			t.Errorf("after the inner scope: %d tensors live, want 2", live())
		}
		tape.Done(x)
		if got := tape.Read(y); len(got) != n {
			t.Errorf("the result of the scope has %d values", len(got))
		}
		return nil
	})
	if used(dev) != 0 {
		t.Errorf("%d bytes live after all scopes", used(dev))
	}
}
