package all

import (
	"time"

	"github.com/lentil-lm/lentil/compute"
)

// Measure times the device for less than a second and returns its float32
// operations per second, by a matrix product, and bytes per second from memory,
// by sums of vectors beyond any cache.
func Measure(dev compute.Device) (flops, bandwidth float64, err error) {
	const side = 512
	flops, err = best(dev, compute.MatMul{Alpha: 1}, compute.Cost{FLOPs: 2 * side * side * side}, compute.Shape{side, side})
	if err != nil {
		return 0, 0, err
	}
	const length = 16 << 20 // 64 MiB a vector
	bandwidth, err = best(dev, compute.Add{Alpha: 1}, compute.Cost{Bytes: 3 * 4 * length}, compute.Shape{length})
	return flops, bandwidth, err
}

// best runs an op of two inputs and one output, all of one shape, until the
// time is up, and returns the highest rate of work per second seen: others may
// use the machine too.
func best(dev compute.Device, op compute.Op, work compute.Cost, shape compute.Shape) (rate float64, err error) {
	const patience = 250 * time.Millisecond
	buffers := make([]compute.Buffer, 3)
	for i := range buffers {
		if buffers[i], err = dev.Alloc(shape, compute.F32); err != nil {
			return 0, err
		}
		defer buffers[i].Free()
		if err = dev.Run(compute.Fill{Value: 1, Shape: shape}, buffers[i:i+1], nil); err != nil {
			return 0, err
		}
	}
	if err = dev.Sync(); err != nil {
		return 0, err
	}
	for end := time.Now().Add(patience); rate == 0 || time.Now().Before(end); {
		start := time.Now()
		if err = dev.Run(op, buffers[2:], buffers[:2]); err != nil {
			return 0, err
		}
		if err = dev.Sync(); err != nil {
			return 0, err
		}
		rate = max(rate, float64(work.FLOPs+work.Bytes)/time.Since(start).Seconds())
	}
	return rate, nil
}
