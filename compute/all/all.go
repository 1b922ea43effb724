// Package all is the only place that lists the devices. A new device is one
// folder beside this one and one entry in kinds.
package all

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cpu"
	"github.com/lentil-lm/lentil/compute/cuda"
	"github.com/lentil-lm/lentil/compute/fallback"
	"github.com/lentil-lm/lentil/compute/mlx"
	"github.com/lentil-lm/lentil/fault"
)

// Options go to the device that is opened. The zero value is its best guess.
type Options struct {
	Threads int    // CPU: worker threads, 0 is one a core
	Kernels string // CPU: kernel family ("generic", "avx2", ...), empty is the best
	// Floats is the type of a model's own floats: GPUs that compute in several types take it. 0 is not known.
	Floats compute.DType
	// Fits says why what is to run does not fit into a device's memory. "auto" passes over devices with memory of their
	// own where it is nil.
	Fits func(compute.Device) error
	// Passed hears why "auto" passed over a device that is here. May be nil.
	Passed func(device string, why error)
}

// A kind of device. One machine may have several of a kind: their names are the kind's,
// or that with ":" and a number.
type kind struct {
	name string
	// find names those of this machine, the best first, or says why there is none.
	find func() ([]string, error)
	open func(name string, o Options) (compute.Device, error)
	// whole says that it supports every op. What others lack runs on the host.
	whole bool
	// asked says that it is taken where its name is given, and not by "auto".
	asked bool
	// auto opens the device for "auto", if not as by its name.
	auto func(name string, o Options) (compute.Device, error)
	// limited says that "auto" has to know what is to run.
	limited bool
}

// kinds, best first: "auto" takes the first device that opens.
var kinds = []kind{
	{
		name: "cuda",
		find: cuda.Cards,
		open: func(name string, _ Options) (compute.Device, error) {
			n, err := strconv.Atoi(strings.TrimPrefix(name, "cuda:"))
			if err != nil {
				return nil, fault.Value("device", name, "cuda or cuda:0, cuda:1 and so on")
			}
			return cuda.New(cuda.Options{Card: n})
		},
		asked:   runtime.GOOS == "windows", // where nobody has tried it
		limited: true,
	},
	{
		name: "mlx",
		find: mlx.Devices,
		open: func(_ string, o Options) (compute.Device, error) { return mlx.New(mlx.Options{Floats: o.Floats}) },
		auto: func(_ string, o Options) (compute.Device, error) {
			return mlx.New(mlx.Options{Floats: o.Floats, GPU: true})
		},
		asked: !(runtime.GOOS == "darwin" && runtime.GOARCH == "arm64"), // elsewhere it is for tests
	},
	{
		name: "cpu",
		find: func() ([]string, error) { return []string{"cpu"}, nil },
		open: func(_ string, o Options) (compute.Device, error) {
			return cpu.New(cpu.Options{Threads: o.Threads, Kernels: o.Kernels})
		},
		whole: true,
	},
}

// openNamed opens a device of the kind.
func (k kind) openNamed(name string, o Options) (compute.Device, error) {
	dev, err := k.open(name, o)
	if err != nil {
		return nil, err
	}
	if !k.whole {
		dev = fallback.New(dev)
	}
	return dev, nil
}

// openFitting is openNamed, but for devices that are too small.
func (k kind) openFitting(name string, o Options) (compute.Device, error) {
	dev, err := k.openNamed(name, o)
	if err != nil || !k.limited {
		return dev, err
	}
	if err := o.Fits(dev); err != nil {
		return nil, errors.Join(err, dev.Close())
	}
	return dev, nil
}

// Open opens a device by name; "auto" or "" takes the best that this machine
// has. A device holds threads and memory until Close.
func Open(name string, o Options) (compute.Device, error) {
	if isAuto(name) {
		return openBest(o)
	}
	k, name, err := lookUp(name)
	if err != nil {
		return nil, err
	}
	return k.openNamed(name, o)
}

// Check reports a name that Open would not know, or whose device is not here, without
// opening it.
func Check(name string) error {
	if isAuto(name) {
		return nil
	}
	_, _, err := lookUp(name)
	return err
}

func isAuto(name string) bool { return name == "" || name == "auto" }

// openBest opens the first device that can be opened.
func openBest(o Options) (compute.Device, error) {
	var reasons []error
	for _, k := range kinds {
		if k.asked || k.limited && o.Fits == nil {
			continue
		}
		found, err := k.find()
		if err == nil && len(found) > 0 {
			if k.auto != nil {
				k.open = k.auto
			}
			var dev compute.Device
			if dev, err = k.openFitting(found[0], o); err == nil {
				return dev, nil
			}
			if o.Passed != nil && k.limited {
				o.Passed(found[0], err)
			}
		}
		reasons = append(reasons, err)
	}
	return nil, fmt.Errorf("no device could be opened: %w", errors.Join(reasons...))
}

// lookUp finds the device of a name: that of the kind alone is its best.
func lookUp(name string) (kind, string, error) {
	before, _, _ := strings.Cut(name, ":")
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == before })
	if i < 0 {
		return kind{}, "", fault.Value("device", name, "auto or one of: "+strings.Join(known(), ", "))
	}
	k := kinds[i]
	found, err := k.find()
	switch {
	case err != nil:
		return kind{}, "", fault.Given("device", name, "there is none here: %w", err).Try("Take another one of: %s.", strings.Join(names(), ", "))
	case name == k.name:
		return k, found[0], nil
	case !slices.Contains(found, name):
		return kind{}, "", fault.Value("device", name, "one that is here: "+strings.Join(names(), ", "))
	}
	return k, name, nil
}

// known are the names of all kinds.
func known() []string {
	var list []string
	for _, k := range kinds {
		list = append(list, k.name)
	}
	return list
}

// names are those of the devices of this machine.
func names() []string {
	var list []string
	for _, k := range kinds {
		if found, err := k.find(); err == nil {
			list = append(list, found...)
		}
	}
	return list
}

// An Entry is a device that Lentil knows how to use.
type Entry struct {
	Name   string
	Reason error // why it is not here; nil if it is
}

// List names all devices, best first: those that this machine has, and the kinds of which
// it has none. It opens none.
func List() []Entry {
	var list []Entry
	for _, k := range kinds {
		found, err := k.find()
		if err != nil {
			list = append(list, Entry{k.name, err})
		}
		for _, name := range found {
			list = append(list, Entry{Name: name})
		}
	}
	return list
}
