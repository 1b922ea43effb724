package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/run"
)

// A deviceFigure is a device and how fast it was found to be; zero figures were not measured.
type deviceFigure struct {
	Name      string  `json:"name"`
	Detail    string  `json:"detail"`
	Threads   int     `json:"threads"`
	Memory    int64   `json:"memory_bytes"`
	GFLOPS    float64 `json:"gflops"`               // float32 matrix product
	Bandwidth float64 `json:"gigabytes_per_second"` // matrix times vector, read once
	Error     string  `json:"error,omitempty"`
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

// The shapes that are measured: a product large enough to be bound by arithmetic, and a matrix of 128 MiB,
// larger than caches, that one vector is multiplied with.
const (
	productRows, productSide = 256, 1024
	vectorRows, vectorCols   = 8192, 4096
)

// measureFor is how long each measurement goes on.
const measureFor = 400 * time.Millisecond

func measure(ctx context.Context, dev compute.Device) deviceFigure {
	info := dev.Info()
	fig := deviceFigure{Name: info.Name, Detail: info.Detail, Threads: info.Threads, Memory: info.Memory}
	cost, seconds, err := timeLinear(ctx, dev, productRows, productSide, productSide)
	if err == nil {
		fig.GFLOPS = float64(cost.FLOPs) / seconds / 1e9
		cost, seconds, err = timeLinear(ctx, dev, 1, vectorRows, vectorCols)
		fig.Bandwidth = float64(cost.Bytes) / seconds / 1e9
	}
	if err != nil {
		fig.GFLOPS, fig.Bandwidth, fig.Error = 0, 0, err.Error()
	}
	return fig
}

// timeLinear runs y = x Wᵀ, x [t, cols], W [rows, cols] in float32, again and again and gives what one
// product costs and the shortest time it took.
func timeLinear(ctx context.Context, dev compute.Device, t, rows, cols int) (compute.Cost, float64, error) {
	var zero compute.Cost
	op := compute.Linear{Weight: compute.Weight{Format: quant.Format{Kind: quant.Dense, DType: quant.F32}, Rows: rows, Cols: cols}, Exact: true}
	var bufs []compute.Buffer
	defer func() {
		for _, b := range bufs {
			b.Free()
		}
	}()
	for _, shape := range []compute.Shape{{t, rows}, {t, cols}, {rows, cols}} {
		b, err := dev.Alloc(shape, compute.F32)
		if err != nil {
			return zero, 0, err
		}
		bufs = append(bufs, b)
		fill := compute.Fill{Value: 0.5, Shape: shape}
		if err := dev.Run(fill, []compute.Buffer{b}, nil); err != nil {
			return zero, 0, err
		}
	}
	out, in := bufs[:1], bufs[1:]
	best := time.Duration(0)
	for began := time.Now(); time.Since(began) < measureFor || best == 0; {
		if err := ctx.Err(); err != nil {
			return zero, 0, err
		}
		start := time.Now()
		if err := dev.Run(op, out, in); err != nil {
			return zero, 0, err
		}
		if err := dev.Sync(); err != nil {
			return zero, 0, err
		}
		if d := time.Since(start); best == 0 || d < best {
			best = d
		}
	}
	return op.Cost([]compute.Spec{in[0].Spec(), in[1].Spec()}), best.Seconds(), nil
}
