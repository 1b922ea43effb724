package all

import (
	"time"

	"github.com/lentil-lm/lentil/compute"
)

// Measure times the device for about a second and returns its float32
// operations per second, by a matrix product, and bytes read from memory per
// second, by a pass over a vector far beyond any cache.
func Measure(dev compute.Device) (flops, bandwidth float64, err error) {
	const side = 512
	flops, err = best(dev, compute.MatMul{Alpha: 1}, 2*side*side*side, []compute.Shape{{side, side}, {side, side}}, compute.Shape{side, side})
	if err != nil {
		return 0, 0, err
	}
	// The last-level caches of servers go to hundreds of megabytes; small machines
	// have small caches and less memory to spare.
	const most, least = 1 << 29, 1 << 26
	bytes := most
	if room := dev.Info().Memory; room > 0 {
		for bytes > least && int64(bytes) > room/8 {
			bytes /= 2
		}
	}
	bandwidth, err = best(dev, compute.SumSquares{}, float64(bytes), []compute.Shape{{bytes / 4}}, compute.Shape{1})
	return flops, bandwidth, err
}

// best runs an op until the time is up and returns the highest rate of work per
// second seen: others may use the machine too.
func best(dev compute.Device, op compute.Op, work float64, in []compute.Shape, out compute.Shape) (rate float64, err error) {
	const patience = 250 * time.Millisecond
	buffers := make([]compute.Buffer, 0, len(in)+1)
	for _, shape := range append(in, out) {
		b, err := dev.Alloc(shape, compute.F32)
		if err != nil {
			return 0, err
		}
		defer b.Free()
		buffers = append(buffers, b)
		if err = dev.Run(compute.Fill{Value: 1, Shape: shape}, []compute.Buffer{b}, nil); err != nil {
			return 0, err
		}
	}
	if err = dev.Sync(); err != nil {
		return 0, err
	}
	for end := time.Now().Add(patience); rate == 0 || time.Now().Before(end); {
		start := time.Now()
		if err = dev.Run(op, buffers[len(in):], buffers[:len(in)]); err != nil {
			return 0, err
		}
		if err = dev.Sync(); err != nil {
			return 0, err
		}
		rate = max(rate, work/time.Since(start).Seconds())
	}
	return rate, nil
}
