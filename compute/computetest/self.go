package computetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/lentil-lm/lentil/compute"
)

// Check compares a device with the definitions where there is no test: in every nth case, and at least one of each op and
// type, until the context ends. It tells each problem, and returns how many of the cases ran.
func Check(ctx context.Context, dev compute.Device, n int, problem func(text string)) (ran, all int) {
	list := everyNth(table(dev.Info().Activations), n)
	for _, c := range list {
		if ctx.Err() != nil {
			break
		}
		ran++
		for _, text := range c.problems(dev) {
			problem(c.name() + ": " + text)
		}
	}
	return ran, len(list)
}

// problems checks one case.
func (c testCase) problems(dev compute.Device) (list []string) {
	r := &problemList{}
	defer func() {
		if e := recover(); e != nil && e != (ended{}) {
			r.Errorf("panic: %v", e)
		}
		list = r.texts
	}()
	if dev.Supports(c.op, specsOf(c.inputs(newGen(c.name())))) {
		c.check(r, dev)
	}
	return nil
}

// ended ends a case.
type ended struct{}

// problemList keeps what a test would print. It has what checks of a case call, and no more.
type problemList struct {
	testing.TB
	texts []string
}

func (r *problemList) Helper() {}

func (r *problemList) Error(args ...any) { r.texts = append(r.texts, fmt.Sprint(args...)) }

func (r *problemList) Errorf(format string, args ...any) {
	r.texts = append(r.texts, fmt.Sprintf(format, args...))
}

func (r *problemList) Fatal(args ...any) {
	r.Error(args...)
	panic(ended{})
}

func (r *problemList) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	panic(ended{})
}
