// Package computetest is the conformance suite of compute.Device: a new device
// is right when [Run] passes on it.
//
//	func TestDevice(t *testing.T) {
//		dev, err := mydevice.New()
//		if err != nil {
//			t.Fatal(err)
//		}
//		computetest.Run(t, dev)
//	}
//
// The suite runs every op over many shapes, attributes and weight formats and compares
// it with its definition (Op.Define) on the same input. Each case also checks that
//
//   - all of an output is written,
//   - inputs stay as they are,
//   - an output that the op adds to, or writes a part of, keeps what was there,
//   - an output may be an input where the op's comment allows it,
//   - a second run gives the same bits, if the device's Info promises that.
//
// A device whose activations are BF16 or F16 runs every op with these, too, and is allowed
// their rounding.
//
// This package's own tests check the definitions themselves, against independent
// float64 forms and, for gradients, finite differences of these.
//
// Short tests take every fourth case, and at least one of each op and type.
//
// [Bench] times the ops over larger cases of the same kind.
package computetest

import (
	"errors"
	"slices"
	"testing"

	"github.com/lentil-lm/lentil/compute"
)

// Run checks that dev keeps the contract of compute.Device and computes every
// op as it is defined. Ops that the device does not support are skipped by name.
func Run(t *testing.T, dev compute.Device) { RunSome(t, dev, 1) }

// RunSome is Run with every nth case, and at least one of each op and type.
func RunSome(t *testing.T, dev compute.Device, n int) {
	t.Run("buffers", func(t *testing.T) { checkBuffers(t, dev) })
	t.Run("errors", func(t *testing.T) { checkErrors(t, dev) })
	runCases(t, dev, some(table(dev.Info().Activations), n))
}

// RunOps compares these ops, which the device has to support, with their definitions, in every nth case.
func RunOps(t *testing.T, dev compute.Device, n int, names ...string) {
	var all []testCase
	for _, c := range table(dev.Info().Activations) {
		if slices.Contains(names, c.op.Name()) {
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		t.Fatalf("no cases of %v", names)
	}
	runCases(t, dev, some(all, n))
}

func runCases(t *testing.T, dev compute.Device, list []testCase) {
	for _, c := range list {
		t.Run(c.name(), func(t *testing.T) {
			if !dev.Supports(c.op, specsOf(c.inputs(newGen(c.name())))) {
				checkUnsupported(t, dev, c)
				t.Skipf("%s is not supported by %s", c.op.Name(), dev.Info().Name)
			}
			c.check(t, dev)
		})
	}
}

// some is every nth case of the table, every 4nth in short tests, and the first of each op in any case.
func some(all []testCase, n int) []testCase {
	if testing.Short() {
		n *= 4
	}
	return everyNth(all, n)
}

// everyNth is every nth case, and the first of each op and type.
func everyNth(all []testCase, n int) []testCase {
	var out []testCase
	seen := map[string]bool{}
	for i, c := range all {
		if name := c.op.Name() + c.types; i%n == 0 || !seen[name] {
			seen[name] = true
			out = append(out, c)
		}
	}
	return out
}

// Bench times every op on sizes of a small language model. It also reports GFLOP/s and
// GB/s by the op's cost.
func Bench(b *testing.B, dev compute.Device) {
	for _, c := range benchCases() {
		b.Run(c.name(), func(b *testing.B) {
			if !dev.Supports(c.op, specsOf(c.inputs(newGen(c.name())))) {
				b.Skipf("%s is not supported by %s", c.op.Name(), dev.Info().Name)
			}
			c.bench(b, dev)
		})
	}
}

func (c testCase) bench(b *testing.B, dev compute.Device) {
	in := c.inputs(newGen(c.name()))
	specs := specsOf(in)
	outSpecs, err := compute.Infer(c.op, specs)
	if err != nil {
		b.Fatal(err)
	}
	ins, outs := make([]compute.Buffer, len(in)), make([]compute.Buffer, len(outSpecs))
	for i, a := range in {
		ins[i] = c.input(b, dev, a, false)
	}
	for i, s := range outSpecs {
		outs[i] = upload(b, dev, zeros(s))
	}
	run := func() {
		if err := dev.Run(c.op, outs, ins); err != nil {
			b.Fatal(err)
		}
	}
	run()
	if err := dev.Sync(); err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		run()
		n++
	}
	if err := dev.Sync(); err != nil {
		b.Fatal(err)
	}
	cost, seconds := c.op.Cost(specs), b.Elapsed().Seconds()
	b.ReportMetric(float64(cost.FLOPs)*float64(n)/seconds/1e9, "GFLOP/s")
	b.ReportMetric(float64(cost.Bytes)*float64(n)/seconds/1e9, "GB/s")
	for _, buf := range append(ins, outs...) {
		buf.Free()
	}
}

// checkUnsupported demands that Run refuses, with ErrUnsupported, what Supports denies.
func checkUnsupported(t *testing.T, dev compute.Device, c testCase) {
	in := c.inputs(newGen(c.name()))
	outSpecs, err := compute.Infer(c.op, specsOf(in))
	if err != nil {
		t.Fatal(err)
	}
	var ins, outs []compute.Buffer
	for _, a := range in {
		ins = append(ins, c.input(t, dev, a, false))
	}
	for _, s := range outSpecs {
		outs = append(outs, upload(t, dev, zeros(s)))
	}
	if err := dev.Run(c.op, outs, ins); !errors.Is(err, compute.ErrUnsupported) {
		t.Errorf("Supports says no, Run returns %v, want ErrUnsupported", err)
	}
	for _, buf := range append(ins, outs...) {
		buf.Free()
	}
}
