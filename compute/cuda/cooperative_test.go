package cuda

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// faults of grid_ring in emulate/source/faults.cu.
const (
	noRingFault = iota
	bulkCopy
	oneStaysAway
	nobodyWrites
)

// ringSteps is how many barriers of the grid blocks go through in grid_ring.
const ringSteps = 4

// ring runs grid_ring, whose last numbers it returns: [blocks, 64].
func ring(d *Device, g driver.Grid, fault int) ([]float32, error) {
	d.enter()
	defer d.leave()
	n := 4 + 2*g.X*64
	p, bytes, err := d.memory(int64(4 * n))
	if err != nil {
		return nil, err
	}
	defer d.release(p, bytes)
	dst := make([]byte, 4*n)
	d.fail(d.drv.Set(p, 0, 16, d.stream))
	g.Threads = 64
	d.kernel("grid_ring").ptr(p).int(ringSteps, fault).launch(g)
	d.flush()
	d.fail(d.drv.CopyOut(dst, p, d.stream))
	rows := compute.Array{Spec: compute.Spec{Shape: compute.Shape{n}, DType: compute.F32}, Data: dst}.F32()[4:]
	at := ringSteps % 2 * g.X * 64
	return rows[at : at+g.X*64], d.take()
}

// ringed is what grid_ring leaves behind.
func ringed(blocks int) []float32 {
	v, sums := make([]float32, blocks*64), make([]float32, blocks*64)
	for i := range v {
		v[i] = float32(i)
	}
	for range ringSteps {
		next := make([]float32, len(v))
		for i := range v {
			b, t := i/64, i%64
			sums[i] += v[(b+blocks-1)%blocks*64+t]
			next[i] = sums[i] + float32(b) + float32(3*b+t) + v[i]
		}
		v = next
	}
	return v
}

// TestEmulatedGrid: blocks of a cooperative launch wait for each other, and keep what they have, in either order.
func TestEmulatedGrid(t *testing.T) {
	for capability, faults := range map[int][]int{80: {noRingFault}, 90: {noRingFault, bulkCopy}} {
		d := emulated(t, fmt.Sprintf("capability=%d", capability))
		if !d.card.Cooperative {
			t.Error("the card takes no cooperative launches")
		}
		for _, fault := range faults {
			for _, blocks := range []int{8, 8, 1, 3, 3} {
				got, err := ring(d, driver.Grid{X: blocks, Shared: 520, Cooperative: true}, fault)
				if err != nil || !slices.Equal(got, ringed(blocks)) {
					t.Errorf("capability %d, case %d, %d blocks: %v, other numbers than a loop makes", capability, fault, blocks, err)
				}
			}
		}
	}
}

// TestEmulatedGridFaults demands that the emulation sees barriers of a grid that nobody leaves, and grids that no card holds.
func TestEmulatedGridFaults(t *testing.T) {
	d := emulated(t, "cores=1")
	for _, c := range []struct {
		says  string
		grid  driver.Grid
		fault int
	}{
		{"thread 0: waits at a barrier of the grid, which has counted 1 of 3, in a launch that is not cooperative", driver.Grid{X: 3, Shared: 520}, noRingFault},
		{"2 of 3 blocks wait at a barrier of the grid, which has counted 5 of 6: nobody goes on", driver.Grid{X: 3, Shared: 520, Cooperative: true}, oneStaysAway},
		{"3 of 3 blocks wait, one for a word that nobody writes", driver.Grid{X: 3, Shared: 520, Cooperative: true}, nobodyWrites},
		{"waits for a word of other blocks in a launch that is not cooperative", driver.Grid{X: 3, Shared: 520}, nobodyWrites},
		{"17 blocks of 64 threads, the card holds 16 (720)", driver.Grid{X: 17, Shared: 520, Cooperative: true}, noRingFault},
		{"", driver.Grid{X: 16, Shared: 520, Cooperative: true}, noRingFault},
		{"3 blocks of 64 threads, the card holds 2 (720)", driver.Grid{X: 3, Shared: 40 << 10, Cooperative: true}, noRingFault},
		{"", driver.Grid{X: 2, Shared: 40 << 10, Cooperative: true}, noRingFault},
	} {
		got, err := ring(d, c.grid, c.fault)
		if c.says == "" && (err != nil || !slices.Equal(got, ringed(c.grid.X))) {
			t.Errorf("%+v: %v, other numbers than a loop makes", c.grid, err)
		}
		if c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%+v: %v, want %q", c.grid, err, c.says)
		}
	}
}
