package bench

import (
	"context"
	"time"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/all"
)

// A Device is one of this machine and how fast it was found to be; zero figures were not measured.
type Device struct {
	Name      string  `json:"name"`
	Detail    string  `json:"detail"`
	Threads   int     `json:"threads"`
	Memory    int64   `json:"memory_bytes"`
	GFLOPS    float64 `json:"gflops"`               // float32 matrix product
	Bandwidth float64 `json:"gigabytes_per_second"` // read from memory
	Error     string  `json:"error,omitempty"`
}

// Devices lists the devices of this machine, the best first, and measures them unless quick.
func Devices(ctx context.Context, threads int, quick bool) []Device {
	var list []Device
	for _, info := range all.List() {
		dev, err := all.Open(info.Name, all.Options{Threads: threads})
		if err != nil {
			list = append(list, Device{Name: info.Name, Error: err.Error()})
			continue
		}
		d := describe(dev)
		if !quick && ctx.Err() == nil {
			if d, err = measure(dev); err != nil {
				d.Error = err.Error()
			}
		}
		dev.Close()
		list = append(list, d)
	}
	return list
}

func describe(dev compute.Device) Device {
	info := dev.Info()
	return Device{Name: info.Name, Detail: info.Detail, Threads: info.Threads, Memory: info.Memory}
}

// patience is how long an op is repeated to find out how fast it can be.
const patience = 250 * time.Millisecond

// measure times a device for about a second: its float32 operations per second, by
// a matrix product, and its bytes read from memory per second, by a pass over a
// vector far beyond any cache.
func measure(dev compute.Device) (d Device, err error) {
	d = describe(dev)
	const side = 512
	rate, err := opRate(dev, compute.MatMul{Alpha: 1}, []compute.Shape{{side, side}, {side, side}})
	if err != nil {
		return d, err
	}
	d.GFLOPS = 2 * side * side * side * rate / 1e9
	// The last-level caches of servers go to hundreds of megabytes; small machines
	// have small caches and less memory to spare.
	const most, least = 1 << 29, 1 << 26
	bytes := most
	if d.Memory > 0 {
		for bytes > least && int64(bytes) > d.Memory/8 {
			bytes /= 2
		}
	}
	rate, err = opRate(dev, compute.SumSquares{}, []compute.Shape{{bytes / 4}})
	d.Bandwidth = float64(bytes) * rate / 1e9
	return d, err
}

// opRate is how often a second a device can run an op on inputs of these shapes, all ones.
func opRate(dev compute.Device, op compute.Op, shapes []compute.Shape) (float64, error) {
	in := make([]compute.Buffer, 0, len(shapes))
	defer func() {
		for _, b := range in {
			b.Free()
		}
	}()
	for _, shape := range shapes {
		b, err := dev.Alloc(shape, compute.F32)
		if err != nil {
			return 0, err
		}
		in = append(in, b)
		if err := dev.Run(compute.Fill{Value: 1, Shape: shape}, []compute.Buffer{b}, nil); err != nil {
			return 0, err
		}
	}
	return Rate(dev, op, in, patience)
}

// Rate is how often a second a device can run an op: the best seen in the time given, as others may use the machine too.
func Rate(dev compute.Device, op compute.Op, in []compute.Buffer, patience time.Duration) (rate float64, err error) {
	specs := make([]compute.Spec, len(in))
	for i, b := range in {
		specs[i] = b.Spec()
	}
	outs, err := compute.Infer(op, specs)
	if err != nil {
		return 0, err
	}
	var out []compute.Buffer
	defer func() {
		for _, b := range out {
			b.Free()
		}
	}()
	for _, s := range outs {
		b, err := dev.Alloc(s.Shape, s.DType)
		if err != nil {
			return 0, err
		}
		out = append(out, b)
	}
	if err := dev.Sync(); err != nil {
		return 0, err
	}
	for end := time.Now().Add(patience); rate == 0 || time.Now().Before(end); {
		start := time.Now()
		if err := dev.Run(op, out, in); err != nil {
			return 0, err
		}
		if err := dev.Sync(); err != nil {
			return 0, err
		}
		rate = max(rate, 1/time.Since(start).Seconds())
	}
	return rate, nil
}
