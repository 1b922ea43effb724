// Package all is the only place that lists the devices. A new device is one
// folder beside this one and one entry in devices.
package all

import (
	"errors"
	"fmt"
	"strings"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cpu"
	"github.com/lentil-lm/lentil/fault"
)

// Options go to the device that is opened. The zero value is its best guess.
type Options struct {
	Threads int    // CPU: worker threads, 0 is one a core
	Kernels string // CPU: kernel family ("generic", "avx2", ...), empty is the best
}

// A device opens one kind of device. Its error says why there is none here.
type device struct {
	name string
	open func(Options) (compute.Device, error)
}

// devices, best first: "auto" takes the first that opens.
var devices = []device{
	{"cpu", func(o Options) (compute.Device, error) {
		return cpu.New(cpu.Options{Threads: o.Threads, Kernels: o.Kernels})
	}},
}

// Open opens a device by name; "auto" or "" takes the best that this machine
// has. A device holds threads and memory until Close.
func Open(name string, o Options) (compute.Device, error) {
	if name == "" || name == "auto" {
		var all []error
		for _, d := range devices {
			dev, err := d.open(o)
			if err == nil {
				return dev, nil
			}
			all = append(all, err)
		}
		return nil, fmt.Errorf("no device could be opened: %w", errors.Join(all...))
	}
	for _, d := range devices {
		if d.name == name {
			return d.open(o)
		}
	}
	return nil, fault.Value("device", name, "auto or one of: "+strings.Join(names(), ", "))
}

func names() []string {
	var all []string
	for _, d := range devices {
		all = append(all, d.name)
	}
	return all
}

// List describes the devices that this machine has, best first.
func List() []compute.Info {
	var all []compute.Info
	for _, d := range devices {
		dev, err := d.open(Options{})
		if err != nil {
			continue
		}
		all = append(all, dev.Info())
		dev.Close()
	}
	return all
}
