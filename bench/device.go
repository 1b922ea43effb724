package bench

import (
	"context"
	"time"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/all"
	"github.com/lentil-lm/lentil/quant"
)

// A Device is one of this machine and how fast it was found to be; zero figures were not measured.
type Device struct {
	Name      string  `json:"name"`
	Detail    string  `json:"detail"`
	Threads   int     `json:"threads"`
	Memory    int64   `json:"memory_bytes"`
	Type      string  `json:"activations,omitempty"` // of activations: F32, BF16 or F16
	GFLOPS    float64 `json:"gflops"`                // of a matrix product in that type
	Bandwidth float64 `json:"gigabytes_per_second"`  // read from memory
	Error     string  `json:"error,omitempty"`
}

// Devices lists the devices that Lentil knows how to use, the best first, with the reason
// (Error) why one is not used here. It measures the others unless quick.
func Devices(ctx context.Context, threads int, quick bool) []Device {
	var list []Device
	for _, entry := range all.List() {
		if entry.Reason != nil {
			list = append(list, Device{Name: entry.Name, Error: entry.Reason.Error()})
			continue
		}
		d, err := OneDevice(ctx, entry.Name, threads, quick)
		if err != nil {
			d.Error = err.Error()
		}
		list = append(list, d)
	}
	return list
}

// OneDevice describes a device by its name, and measures it unless quick.
func OneDevice(ctx context.Context, name string, threads int, quick bool) (Device, error) {
	dev, err := all.Open(name, all.Options{Threads: threads})
	if err != nil {
		return Device{Name: name}, err
	}
	defer dev.Close()
	if quick || ctx.Err() != nil {
		return describe(dev), nil
	}
	return measure(ctx, dev)
}

func describe(dev compute.Device) Device {
	info := dev.Info()
	return Device{Name: info.Name, Detail: info.Detail, Threads: info.Threads, Memory: info.Memory, Type: max(info.Activations, compute.F32).String()}
}

// patience is how long an op is repeated to find out how fast it can be.
const patience = 250 * time.Millisecond

// measure times a device for about a second: its float32 operations per second, by
// a matrix product, and its bytes read from memory per second, by a pass over a
// vector far beyond any cache.
func measure(ctx context.Context, dev compute.Device) (d Device, err error) {
	d = describe(dev)
	// Other devices than the processor have more units to keep busy, and a type of their own.
	t, side := max(dev.Info().Activations, compute.F32), 512
	wide := side
	if t != compute.F32 {
		wide = 4096
	}
	rate, side, err := grown(ctx, side, wide, func(n int, patience time.Duration) (float64, error) {
		return opRate(dev, compute.MatMul{Alpha: 1}, t, []compute.Shape{{n, n}, {n, n}}, patience)
	})
	if err != nil {
		return d, err
	}
	d.GFLOPS = 2 * float64(side) * float64(side) * float64(side) * rate / 1e9
	// The last-level caches of servers go to hundreds of megabytes; small machines
	// have small caches and less memory to spare.
	const most, least = 1 << 29, 1 << 26
	bytes := most
	if d.Memory > 0 {
		for bytes > least && int64(bytes) > d.Memory/8 {
			bytes /= 2
		}
	}
	first, elems := bytes/t.Size(), bytes/t.Size()
	var op compute.Op = compute.SumSquares{}
	if t != compute.F32 {
		op = compute.Scale{Alpha: 1}
		elems /= 2 // it writes as much
		first = elems / 64
	}
	rate, elems, err = grown(ctx, first, elems, func(n int, patience time.Duration) (float64, error) {
		return opRate(dev, op, t, []compute.Shape{{n}}, patience)
	})
	d.Bandwidth = float64(op.Cost([]compute.Spec{{Shape: compute.Shape{elems}, DType: t}}).Bytes) * rate / 1e9
	return d, err
}

// grown measures at a size that doubles up to most, as long as the device is fast enough for more: an emulated one would be busy
// for hours, and deaf to the end of ctx.
func grown(ctx context.Context, size, most int, measure func(size int, patience time.Duration) (float64, error)) (rate float64, at int, err error) {
	for ; size < most; size *= 2 {
		once, long := 0.0, patience.Seconds()/2
		for try := 0; try < 2 && 1/once > long; try++ { // the first time, a kernel may have to be loaded
			r, err := measure(size, 0)
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return 0, size, err
			}
			once = max(once, r)
		}
		if 1/once > long {
			break
		}
	}
	rate, err = measure(size, patience)
	return rate, size, err
}

// opRate is how often a second a device can run an op on inputs of these shapes and a type,
// all ones.
func opRate(dev compute.Device, op compute.Op, t compute.DType, shapes []compute.Shape, patience time.Duration) (float64, error) {
	in := make([]compute.Buffer, 0, len(shapes))
	defer func() {
		for _, b := range in {
			b.Free()
		}
	}()
	for _, shape := range shapes {
		b, err := ones(dev, shape, t)
		if err != nil {
			return 0, err
		}
		in = append(in, b)
	}
	return Rate(dev, op, in, patience)
}

// ones makes a buffer of ones.
func ones(dev compute.Device, shape compute.Shape, t compute.DType) (compute.Buffer, error) {
	b, err := dev.Alloc(shape, t)
	if err != nil {
		return nil, err
	}
	if t == compute.F32 {
		err = dev.Run(compute.Fill{Value: 1, Shape: shape}, []compute.Buffer{b}, nil)
	} else {
		data, one := make([]byte, b.Spec().Bytes()), make([]byte, t.Size())
		quant.PutFloats(one, []float32{1}, t)
		for i := 0; i < len(data); i += len(one) {
			copy(data[i:], one)
		}
		err = dev.Write(b, data)
	}
	if err != nil {
		b.Free()
		return nil, err
	}
	return b, nil
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
