package train

import (
	"fmt"
	"math"
	"strings"
)

// Schedule gives the learning rate of update t. The first update is 0.
type Schedule func(t int) float64

// ScheduleConfig is lr_schedule of the YAML config, as mlx-lm reads it.
type ScheduleConfig struct {
	Name       string    `json:"name" yaml:"name"`
	Arguments  []float64 `json:"arguments" yaml:"arguments"`
	Warmup     int       `json:"warmup" yaml:"warmup"`
	WarmupInit float64   `json:"warmup_init" yaml:"warmup_init"`
}

// Constant is a schedule of one learning rate.
func Constant(lr float64) Schedule { return func(int) float64 { return lr } }

// NewSchedule builds the named schedule of MLX with its linear warm-up. The warm-up
// reaches the first argument after Warmup updates and holds it for one more.
func NewSchedule(c ScheduleConfig) (Schedule, error) {
	maker, ok := schedules[c.Name]
	if !ok {
		return nil, fmt.Errorf("lr_schedule: name is %q; known are %s", c.Name, strings.Join(scheduleNames, ", "))
	}
	if n := len(c.Arguments); n < maker.least || n > maker.most {
		return nil, fmt.Errorf("lr_schedule: %s takes the arguments %s, %d given", c.Name, maker.usage, n)
	}
	if i := maker.steps; i > 0 && !(c.Arguments[i] > 0) {
		return nil, fmt.Errorf("lr_schedule: %s counts %g updates, expected more than 0: its arguments are %s", c.Name, c.Arguments[i], maker.usage)
	}
	if c.Warmup < 0 {
		return nil, fmt.Errorf("lr_schedule: warmup is %d, expected 0 or more updates", c.Warmup)
	}
	main := maker.build(c.Arguments)
	if c.Warmup == 0 {
		return main, nil
	}
	warm := linear(c.WarmupInit, c.Arguments[0], float64(c.Warmup))
	return func(t int) float64 {
		if t < c.Warmup+1 {
			return warm(t)
		}
		return main(t - c.Warmup - 1)
	}, nil
}

var scheduleNames = []string{"exponential_decay", "step_decay", "cosine_decay", "linear_schedule"}

var schedules = map[string]struct {
	usage       string
	least, most int
	steps       int // index of the argument that counts updates, 0 for none
	build       func(a []float64) Schedule
}{
	"exponential_decay": {"[init, decay_rate]", 2, 2, 0, func(a []float64) Schedule {
		return func(t int) float64 { return a[0] * math.Pow(a[1], float64(t)) }
	}},
	"step_decay": {"[init, decay_rate, step_size]", 3, 3, 2, func(a []float64) Schedule {
		return func(t int) float64 { return a[0] * math.Pow(a[1], math.Floor(float64(t)/a[2])) }
	}},
	"cosine_decay": {"[init, decay_steps, end]", 2, 3, 1, func(a []float64) Schedule {
		end := 0.0
		if len(a) == 3 {
			end = a[2]
		}
		return func(t int) float64 {
			s := math.Min(float64(t), a[1])
			return end + 0.5*(1+math.Cos(math.Pi*s/a[1]))*(a[0]-end)
		}
	}},
	"linear_schedule": {"[init, end, steps]", 3, 3, 2, func(a []float64) Schedule { return linear(a[0], a[1], a[2]) }},
}

// linear goes from init to end in steps updates and stays there.
func linear(init, end, steps float64) Schedule {
	return func(t int) float64 {
		s := math.Min(float64(t), steps)
		return s*(end-init)/steps + init
	}
}
