package all

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/plan"
)

func TestOpen(t *testing.T) {
	for _, name := range []string{"", "auto", "cpu"} {
		dev, err := Open(name, Options{Threads: 1, Kernels: "generic"})
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		if info := dev.Info(); info.Name != "cpu" || info.Threads != 1 || info.Detail != "generic" {
			t.Errorf("%q opens %+v, want the generic cpu with one thread", name, info)
		}
		Close(dev)
	}
	if _, err := Open("abacus", Options{}); err == nil || !strings.Contains(err.Error(), "cpu") {
		t.Errorf("unknown device: %v, want an error that lists the known", err)
	}
	if _, err := Open("cpu", Options{Kernels: "abacus"}); err == nil {
		t.Error("unknown kernels passed")
	}
}

func TestList(t *testing.T) {
	list := List()
	if len(list) == 0 || list[len(list)-1].Name != "cpu" {
		t.Errorf("devices %+v, want the cpu last", list)
	}
}

func TestMeasure(t *testing.T) {
	dev, err := Open("cpu", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer Close(dev)
	start := time.Now()
	flops, bandwidth, err := Measure(dev)
	if err != nil || flops < 1e7 || bandwidth < 1e7 {
		t.Errorf("%.3g FLOP/s, %.3g bytes/s, %v: want at least ten million of both", flops, bandwidth, err)
	}
	t.Logf("%.1f GFLOP/s, %.1f GB/s in %v", flops/1e9, bandwidth/1e9, time.Since(start))
	none := plan.New(plan.Options{Supports: func(compute.Op) bool { return false }})
	if _, _, err := Measure(none); !errors.Is(err, compute.ErrUnsupported) {
		t.Errorf("a device without ops: %v, want ErrUnsupported", err)
	}
}
