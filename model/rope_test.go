package model

import (
	"math"
	"slices"
	"strings"
	"testing"
)

// frequencies are float32.
const ropeTolerance = 2e-7

func number(v float64) *float64 { return &v }

func TestLlama3Frequencies(t *testing.T) {
	t.Parallel()
	// Periods that MLX computes for Llama 3.2.
	want := map[int]float64{0: 1, 12: 137.124, 14: 311.386, 16: 2327.981, 20: 116682.636, 31: 10617619.803}
	const printed = 1e-5 // the periods are given to three decimals
	s := &RopeScaling{RopeType: "llama3", Factor: number(32), LowFreqFactor: number(1), HighFreqFactor: number(4), OriginalMaxPosition: number(8192)}
	freq, scale, err := ropeFrequencies(&Config{}, 64, 500000, s)
	if err != nil || scale != 1 {
		t.Fatalf("scale %g, error %v", scale, err)
	}
	for i, period := range want {
		if got := 1 / float64(freq[i]); !(math.Abs(got-period) <= printed*period) {
			t.Errorf("period %d is %g, want %g", i, got, period)
		}
	}
}

func TestRopeVariants(t *testing.T) {
	t.Parallel()
	const dims, theta = 16, 10000
	plain := func(i int) float64 { return math.Pow(theta, -2*float64(i)/dims) }
	factors := []float64{1, 1.5, 2, 3, 4, 5, 6, 7}
	for _, test := range []struct {
		name  string
		s     *RopeScaling
		max   int
		at    func(i int) float64 // nil: only the ends are checked
		scale float64
	}{
		{"none", nil, 0, plain, 1},
		{"mrope is plain for text", &RopeScaling{Type: "mrope"}, 0, plain, 1},
		{"type wins over rope_type", &RopeScaling{Type: "linear", RopeType: "default", Factor: number(4)}, 0, func(i int) float64 { return plain(i) / 4 }, 1},
		{"longrope", &RopeScaling{RopeType: "longrope", LongFactor: factors, OriginalMaxPosition: number(4096)}, 8192,
			func(i int) float64 { return plain(i) / factors[i] }, math.Sqrt(1 + math.Log(2)/math.Log(4096))},
		{"longrope within its context", &RopeScaling{RopeType: "su", LongFactor: factors, OriginalMaxPosition: number(4096)}, 4096,
			func(i int) float64 { return plain(i) / factors[i] }, 1},
		{"gguf factors", &RopeScaling{Type: "gguf_factors", Factors: factors}, 0, func(i int) float64 { return plain(i) / factors[i] }, 1},
		{"yarn that stretches by 1", &RopeScaling{Type: "yarn", Factor: number(1)}, 0, plain, 1},
		{"yarn", &RopeScaling{Type: "yarn", Factor: number(8), OriginalMaxPosition: number(2048)}, 0, nil, 0.1*math.Log(8) + 1},
		{"longrope with a factor", &RopeScaling{RopeType: "longrope", Factor: number(4), LongFactor: factors, OriginalMaxPosition: number(4096)}, 8192,
			func(i int) float64 { return plain(i) / factors[i] }, math.Sqrt(1 + math.Log(4)/math.Log(4096))},
		{"yarn with both scales", &RopeScaling{Type: "yarn", Factor: number(8), OriginalMaxPosition: number(2048), Mscale: number(2), MscaleAllDim: number(1)}, 0, nil,
			(0.2*math.Log(8) + 1) / (0.1*math.Log(8) + 1)},
		{"yarn with one scale", &RopeScaling{Type: "yarn", Factor: number(8), OriginalMaxPosition: number(2048), Mscale: number(2)}, 0, nil, 0.1*math.Log(8) + 1},
		{"yarn whose factor follows from the contexts", &RopeScaling{Type: "yarn", OriginalMaxPosition: number(2048)}, 16384, nil, 0.1*math.Log(8) + 1},
		{"yarn with attention factor", &RopeScaling{Type: "yarn", Factor: number(8), AttentionFactor: number(1.25)}, 0, nil, 1.25},
	} {
		freq, scale, err := ropeFrequencies(&Config{MaxPositionEmbeddings: test.max}, dims, theta, test.s)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if !(math.Abs(float64(scale)-test.scale) <= ropeTolerance*test.scale) {
			t.Errorf("%s: scale %g, want %g", test.name, scale, test.scale)
		}
		for i, f := range freq {
			var want float64
			switch {
			case test.at != nil:
				want = test.at(i)
			case i == 0: // fast waves stay
				want = plain(i)
			case i == len(freq)-1: // slow ones are stretched
				want = plain(i) / 8
			default:
				continue
			}
			if !(math.Abs(float64(f)-want) <= ropeTolerance*want) {
				t.Errorf("%s: frequency %d is %g, want %g", test.name, i, f, want)
			}
		}
		if !slices.IsSortedFunc(freq, func(a, b float32) int { return int(math.Copysign(1, float64(b-a))) }) {
			t.Errorf("%s: frequencies %v do not fall", test.name, freq)
		}
	}
	for _, s := range []*RopeScaling{
		{Type: "dynamic"}, {Type: "linear", Factor: number(-1)}, {Type: "yarn", Factor: number(4), OriginalMaxPosition: number(-1)}, {Type: "longrope", LongFactor: factors[:3]}, {Type: "gguf_factors"},
	} {
		if _, _, err := ropeFrequencies(&Config{}, dims, theta, s); err == nil || !strings.Contains(err.Error(), "rope") {
			t.Errorf("%s: %v", s.Type, err)
		}
	}
}

func TestTokenIDs(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]int32{
		"": nil, "null": nil, "7": {7}, "[7, 9]": {7, 9}, "[]": {}, `"x"`: nil, "3000000000": nil, "1.5": nil,
	} {
		if got := tokenIDs([]byte(text)); !slices.Equal(got, want) {
			t.Errorf("eos_token_id %s gives %v, want %v", text, got, want)
		}
	}
}
