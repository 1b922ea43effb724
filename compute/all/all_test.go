package all

import (
	"strings"
	"testing"
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
		dev.Close()
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
