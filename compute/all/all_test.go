package all

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/computetest"
	"github.com/lentil-lm/lentil/compute/fallback"
)

func TestOpen(t *testing.T) {
	for _, name := range []string{"", "auto", "cpu"} {
		if name != "cpu" && runtime.GOOS == "darwin" {
			continue // a GPU, where MLX is there
		}
		dev, err := Open(name, Options{Threads: 1, Kernels: "generic"})
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		if info := dev.Info(); info.Name != "cpu" || info.Threads != 1 || info.Detail != "generic" {
			t.Errorf("%q opens %+v, want the generic cpu with one thread", name, info)
		}
		dev.Close()
	}
	if _, err := Open("cpu", Options{Kernels: "abacus"}); err == nil {
		t.Error("unknown kernels passed")
	}
}

func TestList(t *testing.T) {
	list := List()
	if len(list) == 0 || list[len(list)-1].Name != "cpu" || list[len(list)-1].Reason != nil {
		t.Errorf("devices %+v, want the cpu last", list)
	}
}

// TestAutoFits: "auto" takes a device with memory of its own where what is to run fits, says why it does not, and asks for it to be closed.
func TestAutoFits(t *testing.T) {
	was := kinds
	defer func() { kinds = was }()
	kinds = append([]kind{{name: "abacus", limited: true, find: func() ([]string, error) { return []string{"abacus:0"}, nil },
		open: func(string, Options) (compute.Device, error) { return computetest.NewPartial(compute.BF16), nil }}}, was[len(was)-1])
	small := errors.New("too few beads")
	for _, c := range []struct {
		fits   func(compute.Device) error
		opens  string
		passed error
	}{{nil, "cpu", nil}, {func(compute.Device) error { return nil }, "partial", nil}, {func(compute.Device) error { return small }, "cpu", small}} {
		var passed error
		dev, err := Open("auto", Options{Threads: 1, Fits: c.fits, Passed: func(name string, why error) { passed = why }})
		if err != nil {
			t.Fatal(err)
		}
		if got := dev.Info().Name; got != c.opens || !errors.Is(passed, c.passed) {
			t.Errorf("%s was opened (%v), want %s (%v)", got, passed, c.opens, c.passed)
		}
		dev.Close()
	}
}

// TestKinds: with kinds that have several devices, one that breaks, or none, names lead to
// the right one, and errors tell what there is and why another one is not taken.
func TestKinds(t *testing.T) {
	was := kinds
	defer func() { kinds = was }()
	var opened string
	kinds = append([]kind{
		{name: "gauge", find: func() ([]string, error) { return []string{"gauge"}, nil },
			open: func(string, Options) (compute.Device, error) { return computetest.NewPartial(compute.F32), nil },
			auto: func(string, Options) (compute.Device, error) { return nil, errors.New("it has no needle") }},
		{name: "loom", find: func() ([]string, error) { return nil, errors.New("no thread in the needle") }},
		{name: "abacus", find: func() ([]string, error) { return []string{"abacus:0", "abacus:1"}, nil }, open: func(name string, _ Options) (compute.Device, error) {
			if opened = name; name == "abacus:1" {
				return nil, errors.New("a bead is lost")
			}
			return computetest.NewPartial(compute.BF16), nil
		}},
	}, was[len(was)-1])
	for _, name := range []string{"auto", "abacus", "abacus:0"} {
		dev, err := Open(name, Options{})
		if err != nil || Check(name) != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, ok := dev.(*fallback.Device); !ok || opened != "abacus:0" {
			t.Errorf("%s opens %s as %T, want abacus:0 with the host for what it lacks", name, opened, dev)
		}
		dev.Close()
	}
	for name, want := range map[string]string{
		"loom": "no thread in the needle", "loom:1": "gauge, abacus:0, abacus:1, cpu", "slide rule": "auto or one of: gauge, loom, abacus, cpu",
		"abacus:2": "gauge, abacus:0, abacus:1, cpu", "abacus:x": "abacus:0",
	} {
		for _, err := range []error{second(Open(name, Options{})), Check(name)} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q in it", name, err, want)
			}
		}
	}
	if err := second(Open("abacus:1", Options{})); err == nil || !strings.Contains(err.Error(), "bead") {
		t.Errorf("a device that does not open: %v", err)
	}
	var lines []string
	for _, e := range List() {
		line := e.Name
		if e.Reason != nil {
			line += ": " + e.Reason.Error()
		}
		lines = append(lines, line)
	}
	want := "gauge; loom: no thread in the needle; abacus:0; abacus:1; cpu"
	if got := strings.Join(lines, "; "); got != want {
		t.Errorf("list %s, want %s", got, want)
	}
}

func second(_ compute.Device, err error) error { return err }
