package cli

import (
	"context"
	"fmt"

	"github.com/lentil-lm/lentil/compute/all"
	"github.com/lentil-lm/lentil/run"
)

// A deviceFigure is a device and how fast it was found to be; zero figures were not measured.
type deviceFigure struct {
	Name      string  `json:"name"`
	Detail    string  `json:"detail"`
	Threads   int     `json:"threads"`
	Memory    int64   `json:"memory_bytes"`
	GFLOPS    float64 `json:"gflops"`               // float32 matrix product
	Bandwidth float64 `json:"gigabytes_per_second"` // read from memory
	Error     string  `json:"error,omitempty"`
}

// examineDevices lists the devices and measures them, unless quick.
func examineDevices(ctx context.Context, threads int, quick bool) []deviceFigure {
	var figures []deviceFigure
	for _, info := range all.List() {
		dev, err := all.Open(info.Name, all.Options{Threads: threads})
		if err != nil {
			figures = append(figures, deviceFigure{Name: info.Name, Error: err.Error()})
			continue
		}
		info = dev.Info()
		fig := deviceFigure{Name: info.Name, Detail: info.Detail, Threads: info.Threads, Memory: info.Memory}
		if !quick && ctx.Err() == nil {
			flops, bandwidth, err := all.Measure(dev)
			fig.GFLOPS, fig.Bandwidth = flops/1e9, bandwidth/1e9
			if err != nil {
				fig.Error = err.Error()
			}
		}
		all.Close(dev)
		figures = append(figures, fig)
	}
	return figures
}

func (d deviceFigure) String() string {
	text := d.Name
	if d.Detail != "" {
		text += " (" + d.Detail + ")"
	}
	if d.Threads > 0 {
		text += fmt.Sprintf(", %d threads", d.Threads)
	}
	if d.Memory > 0 {
		text += ", " + run.Bytes(d.Memory)
	}
	if d.GFLOPS > 0 {
		text += fmt.Sprintf(", %.1f GFLOP/s float32, %.1f GB/s", d.GFLOPS, d.Bandwidth)
	}
	if d.Error != "" {
		text += ", " + d.Error
	}
	return text
}
