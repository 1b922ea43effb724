package cuda

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// faults of kernels in emulate/source/products.cu, by their number.
const (
	noFault = iota
	noCopyWait
	noFence
	noProxyFence
	noWait
	overwritten
	waitsForOlder
	oneWarp
	otherStride
	moreBytes
	noInitFence
	leftUnderway
	sumsWritten
	noEarlierWait
	notCommitted
	acrossGrid
)

// product64 runs a kernel of emulate/source/products.cu: y [64, n] = a b over 64, and what that is. Across a barrier of the
// grid three blocks make [192, n].
func product64(t *testing.T, d *Device, n int, form string, fault int) (got, want []float32, err error) {
	t.Helper()
	transA, transB := strings.HasPrefix(form, "ss_a"), strings.HasSuffix(form, "b")
	shapeB := compute.Shape{n, 64}
	if transB {
		shapeB = compute.Shape{64, n}
	}
	grid := driver.Grid{X: 1, Threads: 128}
	if fault == acrossGrid {
		grid.X, grid.Cooperative = 3, true
	}
	rows := 64 * grid.X
	a, b := filled(t, d, compute.BF16, rows, 64).(*buffer), filled(t, d, compute.BF16, shapeB...).(*buffer)
	y := filled(t, d, compute.F32, rows+1, n).(*buffer) // and the barrier's count
	defer a.Free()
	defer b.Free()
	defer y.Free()
	name := fmt.Sprintf("product_%d_%s", n, form)
	shared[name], waiting[name] = 64*128+2*n*128+8, true
	defer delete(shared, name)
	defer delete(waiting, name)
	func() {
		d.enter()
		defer d.leave()
		d.fail(d.drv.Set(y.ptr+driver.Ptr(4*rows*n), 0, 4, d.stream))
		d.kernel(name).tiles(a.array, 64).tiles(b.array, min(shapeB[0], 256)).arrays(a.array, y.array).int(fault).launch(grid)
		d.flush()
		err = d.take()
	}()
	if err != nil {
		return nil, nil, err
	}
	va, vb := floats(t, d, a), floats(t, d, b)
	want = make([]float32, rows*n)
	at := func(v []float32, i, k, rows int, trans bool) float64 {
		if trans {
			return float64(v[k*rows+i])
		}
		return float64(v[i*64+k])
	}
	for i := range want {
		var s float64
		for k := range 64 {
			s += at(va, i/n, k, 64, transA) * at(vb, i%n, k, n, transB)
		}
		want[i] = float32(s)
	}
	return floats(t, d, y)[:len(want)], want, nil
}

// TestEmulatedProducts compares wgmma, in all forms, with the definition.
func TestEmulatedProducts(t *testing.T) {
	d := emulated(t, "capability=90")
	for _, n := range []int{32, 64, 128, 256} {
		for _, form := range []string{"rs", "ss", "ss_a", "rs_b", "ss_b", "ss_ab"} {
			if n < 64 && strings.HasSuffix(form, "b") {
				continue
			}
			faults := []int{noFault}
			if n == 64 && !strings.HasPrefix(form, "ss_a") {
				faults = []int{noFault, acrossGrid, acrossGrid} // in both orders
			}
			for _, fault := range faults {
				compareProduct(t, d, n, form, fault)
			}
		}
	}
}

func compareProduct(t *testing.T, d *Device, n int, form string, fault int) {
	t.Helper()
	got, want, err := product64(t, d, n, form, fault)
	if err != nil {
		t.Errorf("%d columns, %s, %d: %v", n, form, fault, err)
		return
	}
	for i := range want {
		if !(math.Abs(float64(got[i]-want[i])) < 1e-4) {
			t.Errorf("%d columns, %s, %d: element %d, %d is %v, want %v", n, form, fault, i/n, i%n, got[i], want[i])
			return
		}
	}
}

// TestEmulatedProductFaults demands that the emulation sees what such kernels do wrong.
func TestEmulatedProductFaults(t *testing.T) {
	d := emulated(t, "capability=90")
	for _, c := range []struct {
		fault int
		says  string
	}{
		{noFence, "without wgmma_fence"},
		{noProxyFence, "what no fence_proxy_async has shown"},
		{overwritten, "operand b of wgmma was written before"},
		{oneWarp, "another of its warpgroup"},
		{otherStride, "of 40968 bytes"},
		{moreBytes, "nobody goes on"},
		{noInitFence, "no fence has shown its barrier"},
		{leftUnderway, "a product under way"},
		{sumsWritten, "sums of wgmma were written"},
		{noEarlierWait, "before it has waited for them"},
	} {
		if _, _, err := product64(t, d, 128, "ss", c.fault); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("fault %d: %v, want %q", c.fault, err, c.says)
		}
	}
	for _, fault := range []int{noCopyWait, noWait, waitsForOlder} {
		if got, _, err := product64(t, d, 128, "ss", fault); err == nil && !math.IsNaN(float64(got[100])) {
			t.Errorf("fault %d: sums were there before they were waited for", fault)
		}
	}
	old := emulated(t, "")
	if _, _, err := product64(t, old, 64, "rs", noFault); err == nil || !strings.Contains(err.Error(), "not of capability 9.0") {
		t.Errorf("on a card of 8.0: %v", err)
	}
}

// TestEmulatedStores demands that a tile leaves shared memory, cut off at the matrix's ends, and that the emulation sees what
// a kernel does wrong.
func TestEmulatedStores(t *testing.T) {
	d := emulated(t, "capability=90")
	shared["store_check"] = 64 * 128
	defer delete(shared, "store_check")
	store := func(fault int) ([]float32, error) {
		y := filled(t, d, compute.BF16, 70, 72).(*buffer)
		defer y.Free()
		var err error
		func() {
			d.enter()
			defer d.leave()
			d.kernel("store_check").tiles(y.array, 64).int(fault).launch(driver.Grid{X: 1, Threads: 128})
			d.flush()
			err = d.take()
		}()
		return floats(t, d, y), err
	}
	got, err := store(noFault)
	if err != nil {
		t.Fatal(err)
	}
	want := floats(t, d, filled(t, d, compute.BF16, 70, 72))
	for r := 48; r < 70; r++ {
		for k := 64; k < 72; k++ {
			want[r*72+k] = float32(3*(r-48) + k - 64)
		}
	}
	if !slices.Equal(got, want) {
		t.Error("a store leaves other numbers")
	}
	for _, c := range []struct {
		fault int
		says  string
	}{
		{noProxyFence, "store_tile reads at 0 what no fence_proxy_async has shown"},
		{overwritten, "written before a store from it was waited for"},
		{leftUnderway, "ends with a store under way"},
		{notCommitted, "ends with a store under way"},
	} {
		if _, err := store(c.fault); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("fault %d: %v, want %q", c.fault, err, c.says)
		}
	}
}

// TestEmulatedLinear compares the kernels of both cards with products in float32, over sizes that fill no tile, and demands that
// rows do not depend on others.
func TestEmulatedLinear(t *testing.T) {
	for _, env := range []string{"capability=80", "capability=90,cores=8"} {
		t.Run(env, func(t *testing.T) {
			products(t, emulated(t, env), []sizes{{65, 64, 64}, {300, 136, 320}, {70, 1032, 128}})
			batchInvariant(t, emulated(t, env), 128, 1024) // on Hopper tiles of 128 tokens, and of 256
		})
	}
}
