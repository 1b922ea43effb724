package cli

import (
	"context"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cpu"
)

// openDevice opens the device that models run on.
func openDevice(threads int) (compute.Device, error) {
	return cpu.New(cpu.Options{Threads: threads})
}

// examineDevices measures the devices, and gives the memory that the processor's own may take.
func examineDevices(ctx context.Context, threads int, quick bool) (figures []deviceFigure, available int64) {
	dev, err := openDevice(threads)
	if err != nil {
		return []deviceFigure{{Name: "cpu", Error: err.Error()}}, 0
	}
	available = dev.Info().Memory
	if quick {
		info := dev.Info()
		return []deviceFigure{{Name: info.Name, Detail: info.Detail, Threads: info.Threads, Memory: info.Memory}}, available
	}
	return []deviceFigure{measure(ctx, dev)}, available
}
