package main

import (
	"context"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/lentil-lm/lentil/bench"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cpu"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/generate"
	"github.com/lentil-lm/lentil/quant"
)

// onDevice opens the CPU for the time of f.
func onDevice(threads int, f func(d *cpu.Device) (float64, error)) (float64, error) {
	dev, err := cpu.New(cpu.Options{Threads: threads})
	if err != nil {
		return 0, err
	}
	d := dev.(*cpu.Device)
	defer debug.FreeOSMemory() // programs measured next want it
	defer d.Close()
	return f(d)
}

// rate is the best GFLOP/s of an op in half a second, on random inputs; weight
// is an input that is no float32 array.
func rate(threads int, op compute.Op, in []compute.Shape, weight *quant.Matrix) (float64, error) {
	return onDevice(threads, func(d *cpu.Device) (float64, error) {
		var ins []compute.Buffer
		var specs []compute.Spec
		random := rand.New(rand.NewPCG(0, 0))
		for _, s := range in {
			values := make([]float32, s.Elems())
			for i := range values {
				values[i] = random.Float32() - 0.5
			}
			b, err := d.Alloc(s, compute.F32)
			if err != nil {
				return 0, err
			}
			if err := d.Write(b, compute.FloatBytes(values)); err != nil {
				return 0, err
			}
			ins = append(ins, b)
		}
		if weight != nil {
			b, err := d.ImportWeight(weight)
			if err != nil {
				return 0, err
			}
			ins = append(ins, b)
		}
		runs, err := bench.Rate(d, op, ins, 500*time.Millisecond)
		if err != nil {
			return 0, err
		}
		for _, b := range ins {
			specs = append(specs, b.Spec())
		}
		return float64(op.Cost(specs).FLOPs) * runs / 1e9, nil
	})
}

// gemmRate is that of [m, k] x [n, k] transposed.
func gemmRate(m, n, k, threads int) (float64, error) {
	return rate(threads, compute.MatMul{TransB: true, Alpha: 1}, []compute.Shape{{m, k}, {n, k}}, nil)
}

// linearRate is that of m rows through a 4-bit matrix [n, k].
func linearRate(m, n, k, threads int) (float64, error) {
	w := randomMatrix(n, k)
	return rate(threads, compute.Linear{Weight: compute.Weight{Format: w.Format, Rows: n, Cols: k}, Exact: true}, []compute.Shape{{m, k}}, w)
}

// gradientRate is that of linearRate's gradient by its input.
func gradientRate(m, n, k, threads int) (float64, error) {
	w := randomMatrix(n, k)
	return rate(threads, compute.LinearGradInput{Weight: compute.Weight{Format: w.Format, Rows: n, Cols: k}}, []compute.Shape{{m, n}}, w)
}

// randomMatrix has 4 bits in groups of 64.
func randomMatrix(rows, cols int) *quant.Matrix {
	f := quant.Format{Kind: quant.Affine, DType: quant.F16, Bits: 4, Group: 64}
	m := &quant.Matrix{Format: f, Rows: rows, Cols: cols, Data: make([]byte, rows*f.RowBytes(cols))}
	random := rand.New(rand.NewPCG(1, 0))
	for i := range m.Data {
		m.Data[i] = byte(random.Uint32())
	}
	groups := make([]float32, rows*cols/f.Group)
	for i := range groups {
		groups[i] = 0.01
	}
	m.Scales, m.Biases = make([]byte, 2*len(groups)), make([]byte, 2*len(groups))
	quant.PutFloats(m.Scales, groups, quant.F16)
	for i := range groups {
		groups[i] = -0.08
	}
	quant.PutFloats(m.Biases, groups, quant.F16)
	return m
}

// attentionMemory is the most memory in MB that attention over one sequence and
// its gradient take beside their inputs and outputs.
func attentionMemory(tokens, threads int) (float64, error) {
	return onDevice(threads, func(d *cpu.Device) (float64, error) {
		op := compute.Attention{Heads: 9, KVHeads: 3, HeadDim: 64, Scale: 0.125}
		wide, narrow := compute.Shape{tokens, 576}, compute.Shape{tokens, 192}
		var b []compute.Buffer // q, k, v, y, lse, dy, dq, dk, dv
		for _, s := range []compute.Shape{wide, narrow, narrow, wide, {tokens, 9}, wide, wide, narrow, narrow} {
			x, err := d.Alloc(s, compute.F32)
			if err == nil {
				err = d.Run(compute.Fill{Value: 0.01, Shape: s}, []compute.Buffer{x}, nil)
			}
			if err != nil {
				return 0, err
			}
			b = append(b, x)
		}
		bounds, err := d.Alloc(compute.Shape{2}, compute.I32)
		if err == nil {
			err = d.Write(bounds, compute.IntBytes([]int32{0, int32(tokens)}))
		}
		if err != nil {
			return 0, err
		}
		used, _ := d.Memory()
		d.ResetPeak()
		if err := d.Run(op, b[3:5], []compute.Buffer{b[0], b[1], b[2], bounds}); err != nil {
			return 0, err
		}
		if err := d.Run(compute.AttentionGrad{Attention: op}, b[6:9], []compute.Buffer{b[0], b[1], b[2], bounds, b[3], b[4], b[5]}); err != nil {
			return 0, err
		}
		_, peak := d.Memory()
		return float64(peak-used) / 1e6, nil
	})
}

// onModel opens a model for the time of f.
func onModel(ctx context.Context, dir string, threads int, f func(b *bench.Bench) (float64, error)) (float64, error) {
	b, err := bench.Open(ctx, dir, engine.Options{Threads: threads})
	if err != nil {
		return 0, err
	}
	defer debug.FreeOSMemory() // programs measured next want it
	defer b.Close()
	return f(b)
}

// stepSeconds is the time of a LoRA training step on rows of these lengths: the
// second of two.
func stepSeconds(ctx context.Context, dir string, lengths []int, threads int) (float64, error) {
	return onModel(ctx, dir, threads, func(b *bench.Bench) (float64, error) {
		learnt := make([]int, len(lengths))
		for i, n := range lengths {
			learnt[i] = n - 1
		}
		f, err := b.Run(ctx, bench.Training{Rows: learnt, NumLayers: -1}, bench.Options{Trials: 1})
		return f.Averages.Seconds, err
	})
}

// openingSeconds is the time from opening a model's folder to the logits after a
// prompt, when the process has not seen the model before.
func openingSeconds(ctx context.Context, dir string, prompt, threads int) (float64, error) {
	start := time.Now()
	return onModel(ctx, dir, threads, func(b *bench.Bench) (float64, error) {
		s, err := generate.NewSession(b.Model, 0, false)
		if err != nil {
			return 0, err
		}
		defer s.Close()
		tokens := make([]int32, prompt)
		for i := range tokens {
			tokens[i] = int32(10 + i*7919%(b.Model.Config.VocabSize-10))
		}
		if _, err := s.Prefill(ctx, tokens, prompt); err != nil {
			return 0, err
		}
		return time.Since(start).Seconds(), nil
	})
}
