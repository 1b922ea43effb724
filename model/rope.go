package model

import (
	"fmt"
	"math"
)

// ropeFrequencies returns the angle by which a token turns each pair of rotated values,
// [dims/2], and the factor that cos and sin are multiplied by.
// The variants are those of transformers' modeling_rope_utils; of longrope's two sets of
// factors the long one is used for texts of every length, as in mlx-lm.
func ropeFrequencies(c *Config, dims int, theta float64, s *RopeScaling) ([]float32, float32, error) {
	freq := make([]float64, dims/2)
	for i := range freq {
		freq[i] = math.Pow(theta, -2*float64(i)/float64(dims))
	}
	scale := 1.0
	factor, original := c.Stretch(s)
	if !(factor > 0) || !(original > 0) {
		return nil, 0, fmt.Errorf("rope_scaling factor is %g and original_max_position_embeddings %g, expected positive numbers", factor, original)
	}
	switch kind := s.Kind(); kind {
	case "default", "mrope":
	case "linear":
		for i := range freq {
			freq[i] /= factor
		}
	case "llama3":
		llama3(freq, factor, original, s)
	case "yarn":
		scale = yarn(freq, theta, dims, factor, original, s)
	case "longrope", "su":
		if len(s.LongFactor) != len(freq) {
			return nil, 0, fmt.Errorf("rope_scaling long_factor has %d entries, expected %d", len(s.LongFactor), len(freq))
		}
		for i := range freq {
			freq[i] /= s.LongFactor[i]
		}
		if s.AttentionFactor != nil {
			scale = *s.AttentionFactor
		} else if factor > 1 {
			scale = math.Sqrt(1 + math.Log(factor)/math.Log(original))
		}
	case "gguf_factors":
		if len(s.Factors) != len(freq) {
			return nil, 0, fmt.Errorf("rope_freqs has %d entries, expected %d", len(s.Factors), len(freq))
		}
		for i := range freq {
			freq[i] /= s.Factors[i]
		}
		scale = or(s.AttentionFactor, 1)
	default:
		return nil, 0, fmt.Errorf("rope_scaling type %q is not supported; known are default, linear, llama3, yarn, longrope", kind)
	}
	out := make([]float32, len(freq))
	for i, f := range freq {
		if math.IsNaN(f) || math.IsInf(f, 0) || math.IsNaN(scale) || math.IsInf(scale, 0) {
			return nil, 0, fmt.Errorf("rope frequency %d is %g; check rope_theta and rope_scaling", i, f)
		}
		out[i] = float32(f)
	}
	return out, float32(scale), nil
}

// Stretch is the factor by which scaling stretches positions, 1 for none, and the context
// length that the model had before.
func (c *Config) Stretch(s *RopeScaling) (factor, original float64) {
	original = c.originalContext(s)
	switch kind := s.Kind(); {
	case s == nil:
	case s.Factor != nil:
		return *s.Factor, original
	case (kind == "yarn" || kind == "longrope" || kind == "su") && c.MaxPositionEmbeddings > 0:
		return float64(c.MaxPositionEmbeddings) / original, original
	}
	return 1, original
}

// originalContext is the context length that a model had before its positions were scaled.
func (c *Config) originalContext(s *RopeScaling) float64 {
	switch {
	case s != nil && s.OriginalMaxPosition != nil:
		return *s.OriginalMaxPosition
	case c.OriginalMaxPosition != nil:
		return *c.OriginalMaxPosition
	case c.MaxPositionEmbeddings > 0:
		return float64(c.MaxPositionEmbeddings)
	}
	return 4096
}

// llama3 slows the waves that are long for the original context down by factor, leaves the
// short ones and blends between.
func llama3(freq []float64, factor, old float64, s *RopeScaling) {
	low, high := or(s.LowFreqFactor, 1), or(s.HighFreqFactor, 4)
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
func yarn(freq []float64, theta float64, dims int, factor, old float64, s *RopeScaling) float64 {
	at := func(turns float64) float64 {
		return float64(dims) * math.Log(old/(turns*2*math.Pi)) / (2 * math.Log(theta))
	}
	lo, hi := at(orNonzero(s.BetaFast, 32)), at(orNonzero(s.BetaSlow, 1))
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
	if a, b := or(s.Mscale, 0), or(s.MscaleAllDim, 0); a != 0 && b != 0 { // one alone does nothing
		return mscale(a) / mscale(b)
	}
	return mscale(1)
}

func or(v *float64, byDefault float64) float64 {
	if v == nil {
		return byDefault
	}
	return *v
}

// orNonzero is or, where 0 is no value either.
func orNonzero(v *float64, byDefault float64) float64 {
	if or(v, 0) == 0 {
		return byDefault
	}
	return *v
}
