package model

import (
	"fmt"
	"math"
)

// ropeFrequencies returns the angle by which a token turns each pair of rotated values,
// [dims/2], and the factor that cos and sin are multiplied by.
// The variants are those of transformers' modeling_rope_utils and mlx-lm.
func ropeFrequencies(c *Config, dims int, theta float64, s *RopeScaling) ([]float32, float32, error) {
	freq := make([]float64, dims/2)
	for i := range freq {
		freq[i] = math.Pow(theta, -2*float64(i)/float64(dims))
	}
	scale := 1.0
	factor := 1.0
	if s != nil {
		factor = or(s.Factor, 1)
	}
	if factor <= 0 {
		return nil, 0, fmt.Errorf("rope_scaling factor is %g, expected a positive number", factor)
	}
	switch kind := s.Kind(); kind {
	case "default", "mrope":
	case "linear":
		for i := range freq {
			freq[i] /= factor
		}
	case "llama3":
		llama3(freq, factor, s)
	case "yarn":
		scale = yarn(freq, theta, dims, factor, s)
	case "longrope", "su":
		if len(s.LongFactor) != len(freq) {
			return nil, 0, fmt.Errorf("rope_scaling long_factor has %d entries, expected %d", len(s.LongFactor), len(freq))
		}
		for i := range freq {
			freq[i] /= s.LongFactor[i]
		}
		original := or(s.OriginalMaxPosition, 4096)
		if r := float64(c.MaxPositionEmbeddings) / original; r > 1 {
			scale = math.Sqrt(1 + math.Log(r)/math.Log(original))
		}
	case "gguf_factors":
		if len(s.Factors) != len(freq) {
			return nil, 0, fmt.Errorf("rope_freqs has %d entries, expected %d", len(s.Factors), len(freq))
		}
		for i := range freq {
			freq[i] /= s.Factors[i]
		}
	default:
		return nil, 0, fmt.Errorf("rope_scaling type %q is not supported; known are default, linear, llama3, yarn, longrope", kind)
	}
	out := make([]float32, len(freq))
	for i, f := range freq {
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, 0, fmt.Errorf("rope frequency %d is %g; check rope_theta and rope_scaling", i, f)
		}
		out[i] = float32(f)
	}
	return out, float32(scale), nil
}

// llama3 slows the long waves down by factor, leaves the short ones and blends
// between.
func llama3(freq []float64, factor float64, s *RopeScaling) {
	low, high := or(s.LowFreqFactor, 1), or(s.HighFreqFactor, 4)
	old := or(s.OriginalMaxPosition, 8192)
	for i, f := range freq {
		wave := 2 * math.Pi / f
		switch {
		case wave > old/low:
			freq[i] = f / factor
		case wave > old/high:
			smooth := (old/wave - low) / (high - low)
			freq[i] = (1-smooth)*f/factor + smooth*f
		}
	}
}

// yarn blends by the number of turns over the original context (Peng et al.,
// 2023) and returns the attention factor.
func yarn(freq []float64, theta float64, dims int, factor float64, s *RopeScaling) float64 {
	old := or(s.OriginalMaxPosition, 4096)
	at := func(turns float64) float64 {
		return float64(dims) * math.Log(old/(turns*2*math.Pi)) / (2 * math.Log(theta))
	}
	lo, hi := at(or(s.BetaFast, 32)), at(or(s.BetaSlow, 1))
	if s.Truncate == nil || *s.Truncate {
		lo, hi = math.Floor(lo), math.Ceil(hi)
	}
	lo, hi = max(lo, 0), min(hi, float64(dims-1))
	if lo == hi {
		hi += 0.001
	}
	for i, f := range freq {
		ramp := min(max((float64(i)-lo)/(hi-lo), 0), 1)
		freq[i] = f/factor*ramp + f*(1-ramp)
	}
	if s.AttentionFactor != nil {
		return *s.AttentionFactor
	}
	mscale := func(k float64) float64 {
		if factor <= 1 {
			return 1
		}
		return 0.1*k*math.Log(factor) + 1
	}
	return mscale(or(s.Mscale, 1)) / mscale(or(s.MscaleAllDim, 0))
}

func or(v *float64, byDefault float64) float64 {
	if v == nil {
		return byDefault
	}
	return *v
}
