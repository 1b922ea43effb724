package cpu

import (
	"fmt"
	"os"
	"strings"
)

// kernels is one family of inner loops. Each family is a whole table, so that
// the code above never asks which processor it runs on.
type kernels struct {
	name string
}

// families lists what this program has for this machine, the best first; the
// generic one, last, is always there.
func families() []*kernels { return append(machineKernels(), generic) }

// generic is the family in plain Go, by which the others are tested.
var generic = &kernels{name: "generic"}

// chooseKernels picks a family by name; empty means LENTIL_CPU, else the best.
func chooseKernels(name string) (*kernels, error) {
	from := "kernels"
	if name == "" {
		name, from = os.Getenv("LENTIL_CPU"), "LENTIL_CPU"
	}
	all := families()
	if name == "" {
		return all[0], nil
	}
	var have []string
	for _, k := range all {
		if k.name == name {
			return k, nil
		}
		have = append(have, k.name)
	}
	return nil, fmt.Errorf("cpu: %s asks for %q, this machine can run %s", from, name, strings.Join(have, ", "))
}
