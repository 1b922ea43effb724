package compute

import (
	"fmt"
	"math"
)

// RMSNorm scales each row of length D by its root mean square and a weight:
// y = x / sqrt(mean(x²) + Eps) · w (Zhang and Sennrich, 2019).
// With w [D], an input [T, heads·D] is normalized head by head.
//
//	in: x float [T, n·D], w [D];  out: as x
type RMSNorm struct{ Eps float32 }

func (RMSNorm) Name() string { return "rmsnorm" }

func (o RMSNorm) Infer(in []Spec) ([]Spec, error) {
	if err := arity(in, 2); err != nil {
		return nil, err
	}
	if err := firstErr(wantActivation(in, 0, "x"), want(in, 1, "w", -1), wantType(in, 1, "w", floats...),
		divides(in[0].Shape.Cols(), dim(in, 1, 0), "row of x")); err != nil {
		return nil, err
	}
	return []Spec{in[0]}, nil
}

func (o RMSNorm) Cost(in []Spec) Cost {
	return Cost{FLOPs: 4 * int64(in[0].Shape.Elems()), Bytes: 2 * in[0].Bytes()}
}

func (o RMSNorm) Define(out, in []Array) {
	x, w := in[0].Floats(), in[1].Floats()
	y, put := out[0].working()
	defer put()
	d := len(w)
	for r := 0; r < len(x); r += d {
		inv := o.rstd(x[r : r+d])
		for i, v := range w {
			y[r+i] = x[r+i] * inv * v
		}
	}
}

// rstd is 1 / sqrt(mean(x²) + Eps), summed in float64.
func (o RMSNorm) rstd(x []float32) float32 {
	var sum float64
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return float32(1 / math.Sqrt(sum/float64(len(x))+float64(o.Eps)))
}

// RMSNormGrad is the gradient of RMSNorm.
//
//	in: x float [T, n·D], w [D], dy as x
//	out: dx as x, added to when Accumulate; and, when Weight, dw += F32 [D]
type RMSNormGrad struct {
	Eps        float32
	Accumulate bool
	Weight     bool
}

func (RMSNormGrad) Name() string { return "rmsnorm_grad" }

func (o RMSNormGrad) Infer(in []Spec) ([]Spec, error) {
	if err := arity(in, 3); err != nil {
		return nil, err
	}
	if err := firstErr(wantActivation(in, 0, "x"), want(in, 1, "w", -1), wantType(in, 1, "w", floats...),
		divides(in[0].Shape.Cols(), dim(in, 1, 0), "row of x"), want(in, 2, "dy", in[0].Shape...), wantType(in, 2, "dy", in[0].DType)); err != nil {
		return nil, err
	}
	out := []Spec{in[0]}
	if o.Weight {
		out = append(out, Spec{in[1].Shape, F32})
	}
	return out, nil
}

func (o RMSNormGrad) Cost(in []Spec) Cost {
	return Cost{FLOPs: 10 * int64(in[0].Shape.Elems()), Bytes: 3 * in[0].Bytes()}
}

func (o RMSNormGrad) Define(out, in []Array) {
	x, w, dy := in[0].Floats(), in[1].Floats(), in[2].Floats()
	dx, put := out[0].working()
	defer put()
	d := len(w)
	for r := 0; r < len(x); r += d {
		inv := RMSNorm{o.Eps}.rstd(x[r : r+d])
		var proj float64 // Σ dy·w·x̂ / D
		for i, v := range w {
			proj += float64(dy[r+i] * v * x[r+i] * inv)
		}
		mean := float32(proj / float64(d))
		for i, v := range w {
			g := inv * (dy[r+i]*v - x[r+i]*inv*mean)
			if o.Accumulate {
				g += dx[r+i]
			}
			dx[r+i] = g
		}
	}
	if o.Weight {
		dw := out[1].F32()
		for r := 0; r < len(x); r += d {
			inv := RMSNorm{o.Eps}.rstd(x[r : r+d])
			for i := range w {
				dw[i] += dy[r+i] * x[r+i] * inv
			}
		}
	}
}

// RopeTable computes the rotation of each token and frequency once for all
// layers: angle = position · frequency (Su et al., 2021).
//
//	in: positions I32 [T], frequencies F32 [R/2] in radians per token
//	out: cos, sin F32 [T, R/2], both multiplied by Scale (YaRN's attention factor, else 1)
type RopeTable struct{ Scale float32 }

func (RopeTable) Name() string { return "rope_table" }

func (o RopeTable) Infer(in []Spec) ([]Spec, error) {
	if err := arity(in, 2); err != nil {
		return nil, err
	}
	if err := firstErr(want(in, 0, "positions", -1), wantType(in, 0, "positions", I32), want(in, 1, "frequencies", -1), wantType(in, 1, "frequencies", F32)); err != nil {
		return nil, err
	}
	s := Spec{Shape{in[0].Shape[0], in[1].Shape[0]}, F32}
	return []Spec{s, s}, nil
}

func (o RopeTable) Cost(in []Spec) Cost {
	n := int64(in[0].Shape[0]) * int64(in[1].Shape[0])
	return Cost{FLOPs: 20 * n, Bytes: 8 * n}
}

func (o RopeTable) Define(out, in []Array) {
	cos, sin, freq := out[0].F32(), out[1].F32(), in[1].F32()
	for t, pos := range in[0].I32() {
		for i, f := range freq {
			s, c := math.Sincos(float64(float32(pos) * f))
			cos[t*len(freq)+i] = float32(c) * o.Scale
			sin[t*len(freq)+i] = float32(s) * o.Scale
		}
	}
}

// RoPE rotates the first 2·len(frequencies) values of every head by the
// token's angles. Pairs are (i, i+R/2), or (2i, 2i+1) when Traditional.
// Inverse rotates by the opposite angles, which is the gradient.
//
//	in: x float [T, n·HeadDim], cos, sin F32 [T, R/2];  out: as x (may be x itself)
type RoPE struct {
	HeadDim     int
	Traditional bool
	Inverse     bool
}

func (RoPE) Name() string { return "rope" }

func (o RoPE) Infer(in []Spec) ([]Spec, error) {
	if err := arity(in, 3); err != nil {
		return nil, err
	}
	if err := firstErr(want(in, 0, "x", -1, -1), wantActivation(in, 0, "x"), divides(dim(in, 0, 1), o.HeadDim, "row of x"),
		want(in, 1, "cos", dim(in, 0, 0), -1), wantType(in, 1, "cos", F32), want(in, 2, "sin", in[1].Shape...), wantType(in, 2, "sin", F32)); err != nil {
		return nil, err
	}
	if n := 2 * in[1].Shape[1]; n > o.HeadDim {
		return nil, fmt.Errorf("cos turns %d values, a head has %d", n, o.HeadDim)
	}
	return []Spec{in[0]}, nil
}

func (o RoPE) Cost(in []Spec) Cost {
	return Cost{FLOPs: 3 * int64(in[0].Shape.Elems()), Bytes: 2 * in[0].Bytes()}
}

func (o RoPE) Define(out, in []Array) {
	x, cos, sin := in[0].Floats(), in[1].F32(), in[2].F32()
	y, put := out[0].working()
	defer put()
	half := in[1].Shape[1]
	width := in[0].Shape[1]
	for t := range in[0].Shape[0] {
		for h := 0; h < width; h += o.HeadDim {
			head := t*width + h
			for i := range half {
				a, b := head+i, head+i+half
				if o.Traditional {
					a, b = head+2*i, head+2*i+1
				}
				c, s := cos[t*half+i], sin[t*half+i]
				if o.Inverse {
					s = -s
				}
				y[a], y[b] = x[a]*c-x[b]*s, x[a]*s+x[b]*c
			}
			copy(y[head+2*half:head+o.HeadDim], x[head+2*half:head+o.HeadDim])
		}
	}
}
