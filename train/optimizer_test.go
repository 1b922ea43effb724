package train

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/nn"
	"github.com/lentil-lm/lentil/tensor"
)

// TestOptimizers compares sequences of updates with the formulas in float64.
func TestOptimizers(t *testing.T) {
	t.Parallel()
	const tolerance = 2e-6 // float32 state over a few updates
	type options = map[string]any
	for _, c := range []OptimizerConfig{
		{Name: "adam"}, {"adam", options{"bias_correction": true, "betas": [2]float64{0.8, 0.9}, "eps": 1e-3}}, {Name: "adamw"}, {"adamw", options{"weight_decay": 0.1}},
		{Name: "sgd"}, {"sgd", options{"momentum": 0.9, "weight_decay": 0.1}}, {"sgd", options{"momentum": 0.5, "dampening": 0.25, "nesterov": true}},
	} {
		dev := newCPU(t)
		p, err := tensor.NewFloats(dev, compute.Shape{2, 2}, []float32{1, -2, 0.5, 3})
		if err != nil {
			t.Fatal(err)
		}
		p.SetTrainable(true)
		o, err := newUpdates(dev, c, []nn.Param{{Name: "p", Tensor: p}})
		if err != nil {
			t.Fatal(err)
		}
		want, first, second := []float64{1, -2, 0.5, 3}, make([]float64, 4), make([]float64, 4)
		for step := 1; step <= 5; step++ {
			g := []float32{0.1, -1, 0.01 * float32(step), -0.3}
			setGrad(t, p, dev, g)
			lr := 0.1 / float64(step)
			if err := o.apply(lr); err != nil {
				t.Fatal(err)
			}
			for i := range want {
				want[i] = reference(c, want[i], float64(g[i]), &first[i], &second[i], lr, step)
			}
			got, err := tensor.ReadFloats(dev, p)
			if err != nil {
				t.Fatal(err)
			}
			for i := range want {
				if !(math.Abs(float64(got[i])-want[i]) <= tolerance*max(1, math.Abs(want[i]))) {
					t.Errorf("%+v, update %d: parameter %d is %g, want %g", c, step, i, got[i], want[i])
				}
			}
			if p.Grad() != nil {
				t.Errorf("%+v: the gradient is still set after the update", c)
			}
		}
		o.free()
		p.Free()
		if used(dev) != 0 {
			t.Errorf("%+v: %d bytes held", c, used(dev))
		}
	}
}

// setGrad gives p [2, 2] a gradient by a loss over it and then writes g into it.
func setGrad(t *testing.T, p *tensor.Tensor, dev compute.Device, g []float32) {
	t.Helper()
	tape := tensor.NewTape(dev)
	tape.Reset(true)
	tape.Scope(func() *tensor.Tensor {
		tape.CrossEntropyLogits(p, tape.Ints([]int32{0, 1}), tape.Floats([]float32{1, 1}))
		return nil
	})
	if err := errors.Join(tape.Backward(), dev.Write(p.Grad(), compute.FloatBytes(g))); err != nil {
		t.Fatal(err)
	}
}

// reference is one update of one number.
func reference(c OptimizerConfig, p, g float64, m, v *float64, lr float64, step int) float64 {
	number := func(name string, standard float64) float64 {
		if v, ok := c.Options[name]; ok {
			return v.(float64)
		}
		return standard
	}
	if c.Name == "sgd" {
		momentum := number("momentum", 0)
		g += number("weight_decay", 0) * p
		if momentum == 0 {
			return p - lr*g
		}
		*m = momentum**m + (1-number("dampening", 0))*g
		if c.Options["nesterov"] == true {
			return p - lr*(g+momentum**m)
		}
		return p - lr**m
	}
	b1, b2, eps := 0.9, 0.999, number("eps", 1e-8)
	if betas, ok := c.Options["betas"].([2]float64); ok {
		b1, b2 = betas[0], betas[1]
	}
	*m, *v = b1**m+(1-b1)*g, b2**v+(1-b2)*g*g
	if c.Name == "adamw" {
		p *= 1 - lr*number("weight_decay", 0.01)
	}
	mHat, vHat := *m, *v
	if c.Options["bias_correction"] == true {
		mHat /= 1 - math.Pow(b1, float64(step))
		vHat /= 1 - math.Pow(b2, float64(step))
	}
	return p - lr*mHat/(math.Sqrt(vHat)+eps)
}

// mlxTolerance of a parameter after 30 updates, as a part of the parameter's largest
// number: float32 on both sides, sums in another order.
const mlxTolerance = 1e-6

// TestOptimizersAsMLX repeats what interop/peer/make_optimizers.py had MLX do.
func TestOptimizersAsMLX(t *testing.T) {
	t.Parallel()
	var golden struct {
		Updates int
		Shapes  map[string]compute.Shape
		Cases   []struct {
			Name    string
			Options map[string]any
			Rate    any
			Params  map[string][]float32
		}
	}
	data, err := os.ReadFile("testdata/optimizers.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, c := range golden.Cases {
		seen[c.Name] = true
		schedule, ok := Constant(0), false
		if list, given := c.Rate.([]any); given {
			schedule, ok = linear(list[0].(float64), list[1].(float64), list[2].(float64)), true
		} else if rate, given := c.Rate.(float64); given {
			schedule, ok = Constant(rate), true
		}
		if !ok || len(c.Params) != len(golden.Shapes) {
			t.Fatalf("%s: rate %v, %d parameters", c.Name, c.Rate, len(c.Params))
		}
		config := OptimizerConfig{c.Name, c.Options}
		for number, name := range []string{"vector", "wide", "tall", "stack", "late"} {
			got := replay(t, config, schedule, golden.Shapes[name], name, number, golden.Updates)
			var worst, largest float64
			for i, v := range c.Params[name] {
				worst = max(worst, math.Abs(float64(got[i])-float64(v)))
				largest = max(largest, math.Abs(float64(v)))
			}
			if !(worst <= mlxTolerance*largest) || len(got) != len(c.Params[name]) {
				t.Errorf("%s %v, %s: off by %.2g of %.2g", c.Name, c.Options, name, worst, largest)
			}
		}
	}
	if !slices.Equal(slices.Sorted(maps.Keys(seen)), slices.Sorted(slices.Values(Optimizers))) {
		t.Errorf("goldens of %v, optimizers are %v", seen, Optimizers)
	}
}

// replay applies the golden's gradients to one of its parameters.
func replay(t *testing.T, c OptimizerConfig, lr Schedule, shape compute.Shape, name string, number, count int) []float32 {
	t.Helper()
	dev := newCPU(t)
	p := nn.Param{Name: name}
	ours := shape
	if len(shape) == 3 { // a stack, whose rows lie one behind the other
		p.Experts, ours = shape[0], compute.Shape{shape[0] * shape[1], shape[2]}
	}
	var err error
	if p.Tensor, err = tensor.NewFloats(dev, ours, goldenNumbers(50+number, shape.Elems())); err != nil {
		t.Fatal(err)
	}
	u, err := newUpdates(dev, c, []nn.Param{p})
	if err != nil {
		t.Fatal(err)
	}
	one := update{dev: dev, param: p, rate: u.rate.Buffer()}
	for _, s := range u.state[0] {
		one.state = append(one.state, s.Buffer())
	}
	grad, err := tensor.New(dev, ours, compute.F32, nil)
	if err != nil {
		t.Fatal(err)
	}
	one.grad = grad.Buffer()
	for step := 1; step <= count; step++ {
		g := goldenNumbers(100*number+step, shape.Elems())
		if name == "late" && step < 3 {
			clear(g)
		}
		if err := errors.Join(u.next(lr(step-1)), dev.Write(one.grad, compute.FloatBytes(g)), u.rule.update(one)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := tensor.ReadFloats(dev, p.Tensor)
	if err != nil {
		t.Fatal(err)
	}
	grad.Free()
	p.Free()
	u.free()
	if used(dev) != 0 {
		t.Errorf("%s: %d bytes held", c.Name, used(dev))
	}
	return got
}

// goldenNumbers are those of value and array in make_optimizers.py.
func goldenNumbers(seed, n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		x := uint32(seed*7919+i+1) * 2654435761
		x = (x ^ x>>15) * 2246822519
		x = (x ^ x>>13) * 3266489917
		out[i] = (float32(x>>8)/(1<<23) - 1) / float32(int(1)<<(i%7))
	}
	return out
}

func TestOptimizerErrors(t *testing.T) {
	t.Parallel()
	type options = map[string]any
	for _, test := range []struct {
		c    OptimizerConfig
		want string
	}{
		{OptimizerConfig{Name: "lion"}, "optimizer lion: expected adam, adamw, muon, sgd or adafactor"},
		{OptimizerConfig{}, `optimizer "": expected adam`},
		{OptimizerConfig{"adam", options{"weight_decay": 0.1}}, "optimizer_config: adam: takes no weight_decay; known are betas, eps, bias_correction"},
		{OptimizerConfig{"adam", options{"betas": 0.9}}, "betas is 0.9, expected a list of two numbers"},
		{OptimizerConfig{"adam", options{"betas": []any{0.9}}}, "a list of two numbers"},
		{OptimizerConfig{"adam", options{"betas": []any{"x", 0.9}}}, "number 1 of betas is x, expected a number"},
		{OptimizerConfig{"adam", options{"betas": []any{nil, 0.9}}}, "number 1 of betas is <nil>, expected a number"},
		{OptimizerConfig{"adam", options{"betas": []float64{0.9, math.NaN()}}}, "number 2 of betas is NaN"},
		{OptimizerConfig{"adamw", options{"eps": 1e-60}}, "eps is 1e-60, expected a number, more than 0"},
		{OptimizerConfig{"adamw", options{"eps": "tiny"}}, "eps is tiny"},
		{OptimizerConfig{"adamw", options{"weight_decay": math.Inf(1)}}, "weight_decay is +Inf"},
		{OptimizerConfig{"adamw", options{"weight_decay": nil}}, "weight_decay is <nil>"},
		{OptimizerConfig{"sgd", options{"momentum": 1}}, "momentum is 1, expected a number, 0 or more and less than 1"},
		{OptimizerConfig{"sgd", options{"nesterov": true}}, "nesterov is true, expected false, as momentum is 0"},
		{OptimizerConfig{"sgd", options{"nesterov": 1}}, "nesterov is 1, expected true or false"},
		{OptimizerConfig{"muon", options{"ns_steps": 2.5}}, "ns_steps is 2.5, expected a whole number from 0 to 100"},
		{OptimizerConfig{"muon", options{"ns_steps": 101}}, "ns_steps is 101"},
		{OptimizerConfig{"muon", options{"ns_steps": -1}}, "ns_steps is -1"},
		{OptimizerConfig{"adafactor", options{"eps": []any{0, 1}}}, "number 1 of eps is 0, expected a number, more than 0"},
		{OptimizerConfig{"adafactor", options{"decay_rate": 0.8}}, "decay_rate is 0.8, expected a number, 0 or less"},
		{OptimizerConfig{"adafactor", options{"beta_1": 1.5}}, "beta_1 is 1.5"},
		{OptimizerConfig{"adafactor", options{"beta_2": 0.9}}, "takes no beta_2; known are eps, clip_threshold, decay_rate, weight_decay, scale_parameter, relative_step, warmup_init, beta_1"},
	} {
		err := test.c.check()
		var m *fault.Mistake
		if !errors.As(err, &m) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", test.c, err, test.want)
		}
	}
	for _, c := range []OptimizerConfig{
		{"adam", options{"betas": []any{0, uint64(0)}, "eps": int64(1)}}, {"muon", options{"ns_steps": 0.0}}, {"adafactor", options{"beta_1": 0}},
	} {
		if err := c.check(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
