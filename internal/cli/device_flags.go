package cli

import (
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/engine"
)

// deviceFlags say what a model runs on.
type deviceFlags struct {
	Device  string
	Threads int
}

func (d *deviceFlags) declare(f *pflag.FlagSet) { declareDevice(f, &d.Device, &d.Threads, "auto", 0) }

// declareDevice declares the flags for variables of other structs.
func declareDevice(f *pflag.FlagSet, device *string, threads *int, auto string, all int) {
	f.StringVar(device, "device", auto, "`name` of the device to compute on: auto (the best that is here), cpu,\nor another one that lentil doctor lists")
	f.IntVar(threads, "threads", all, "worker `threads` of the processor; 0 for one per core")
}

// opening are the options to open a model with.
func (d deviceFlags) opening(streams Streams) engine.Options {
	o := streams.opening(d.Threads)
	o.Device = d.Device
	return o
}
