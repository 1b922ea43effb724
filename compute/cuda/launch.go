package cuda

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unsafe"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// A call is a kernel with its arguments, laid out one after another. A device has one, so that launches take no memory.
type call struct {
	d     *Device
	k     *kernel
	cells [512]uint64
	next  int
	at    [24]uint8 // cell at which each argument begins
	args  int
	tile  driver.TensorMap
	table [24]uintptr // addresses of arguments, for the driver
}

// A kernel is a function of the module, with what launches ask about it.
type kernel struct {
	f      driver.Func
	name   string
	shared int  // see shared
	waits  bool // see waiting
}

// shared is the dynamic shared memory of kernels that have some, in bytes.
var shared = map[string]int{
	"token_steps": stepShared,
	"linear_b":    denseShared, "linear_f": denseShared, "linear_grad_b": denseShared, "linear_grad_f": denseShared,
	"wg_b": wgShared, "wg_f": wgShared, "wg_grad_b": wgShared,
	"wg_128_b": wgShared128, "wg_128_f": wgShared128, "wg_128_grad_b": wgShared128,
	"expert_mma_b": denseShared, "expert_mma_f": denseShared, "expert_mma_grad_b": denseShared, "expert_mma_grad_f": denseShared,
	"many_w4_2_b": manyShared2, "many_w4_4_b": manyShared4, "many_w4_8_b": manyShared8,
	"many_w4_2_f": manyShared2, "many_w4_4_f": manyShared4, "many_w4_8_f": manyShared8,
	"many_added_w4_2_b": manyShared2, "many_added_w4_4_b": manyShared4, "many_added_w4_8_b": manyShared8,
	"many_gated_w4_2_b": manyShared2, "many_gated_w4_4_b": manyShared4, "many_gated_w4_8_b": manyShared8,
	"flash_wg_64": flashWG(64), "flash_wg_128": flashWG(128),
	"flash_wg_grad_64": flashWGGrad(64), "flash_wg_grad_128": flashWGGrad(128),
	"flash_64": 5 * 64 * 64 * 2, "flash_128": 5 * 64 * 128 * 2,
	"grouped_64": groupedShared(64), "grouped_128": groupedShared(128),
	"flash_dq_64": 6 * 64 * 64 * 2, "flash_dq_128": 6 * 64 * 128 * 2,
	"narrow_mma": 64 << 10, "tall_mma": 64 << 10, "tall_more_mma": 64 << 10, "paired_mma": 68 << 10, "swiglu_thin": 80 << 10, "swiglu_grad_thin": gatedShared,
	"cross_entropy_held": heldLogits,
	"flash_dkv_64":       6 * 64 * 64 * 2, "flash_dkv_128": 6 * 64 * 128 * 2,
}

const (
	denseShared = 3 * 2 * 128 * 64 * 2
	// four stages of tokens by 64 and two blocks of weights, the outgoing tile, and the barriers.
	wgShared    = 4*(256*64*2+2*blockBytes) + 2*256*128 + 3*4*8
	wgShared128 = 4*(128*64*2+2*blockBytes) + 2*128*128 + 3*4*8
)

// waiting are the kernels that call wait_for_earlier: they may be launched before those ahead of them have ended.
var waiting = map[string]bool{
	"one_w4_b": true, "one_w4_f": true, "one_added_w4_b": true, "one_normed_w4_b": true, "one_gated_w4_b": true, "one_normed_gated_w4_b": true,
	"argmax_f": true, "argmax_b": true, "argmax_h": true, "rows_w4_b": true, "rows_w4_f": true, "rope_table": true,
	"turn_store_b": true, "turn_store_h": true, "turn_store_f": true,
	"single_64": true, "single_128": true,
	"many_w4_2_b": true, "many_w4_4_b": true, "many_w4_8_b": true, "many_w4_2_f": true, "many_w4_4_f": true, "many_w4_8_f": true,
	"many_added_w4_2_b": true, "many_added_w4_4_b": true, "many_added_w4_8_b": true, "many_gated_w4_2_b": true, "many_gated_w4_4_b": true, "many_gated_w4_8_b": true,
	"grouped_64": true, "grouped_128": true, "flash_wg_64": true, "flash_wg_128": true,
	"query_sums_64": true, "query_sums_128": true, "flash_wg_grad_64": true, "flash_wg_grad_128": true,
	"rmsnorm_warp_b": true, "rmsnorm_warp_f": true, "rmsnorm_block_b": true, "rmsnorm_block_f": true, "rope_b": true, "rope_f": true, "turn": true,
	"store_rows_bb": true, "store_rows_bf": true, "store_rows_hb": true, "store_rows_hf": true, "store_rows_fb": true, "store_rows_ff": true,
	"add_b": true, "add_f": true, "add_float_b": true, "swiglu_b": true, "swiglu_f": true,
	"swiglu_grad_b": true, "swiglu_grad_f": true, "narrow_mma": true, "tall_mma": true, "tall_more_mma": true, "paired_mma": true, "swiglu_thin": true, "swiglu_grad_thin": true, "thin_sums": true,
	"rmsnorm_grad_warp_b": true, "rmsnorm_grad_warp_f": true, "rmsnorm_grad_block_b": true, "rmsnorm_grad_block_f": true,
	"rmsnorm_held_1": true, "rmsnorm_held_2": true, "rmsnorm_held_4": true, "rmsnorm_added_1": true, "rmsnorm_added_2": true, "rmsnorm_added_4": true,
	"rmsnorm_grad_held_1": true, "rmsnorm_grad_held_2": true, "rmsnorm_grad_held_4": true,
}

// kernel begins a call. Where an op has failed already, the call does nothing.
func (d *Device) kernel(name string) *call {
	d.emit()
	c := d.call
	c.args, c.next = 0, 0
	if d.err != nil || d.drv == nil {
		return c
	}
	k := d.kernels[name]
	if k == nil {
		k = d.find(strings.Clone(name)) // names that are put together stay off the heap
	}
	c.k = k
	return c
}

// find looks a kernel up in the module; there is none behind a failure.
func (d *Device) find(name string) *kernel {
	f, err := d.drv.Func(d.module, name)
	if err != nil {
		d.fail(fmt.Errorf("kernel %s: %w", name, err))
		return nil
	}
	k := &kernel{f, name, shared[name], waiting[name]}
	if strings.HasPrefix(name, "one_") {
		k.shared = oneRing + d.oneRoom()
	}
	if k.shared > 32<<10 { // some kernels have a few kilobytes beside it; together 48 need no leave
		d.fail(d.drv.SetSharedMemory(f, k.shared))
	}
	d.kernels[name] = k
	return k
}

// argument begins the next one.
func (c *call) argument() {
	c.at[c.args] = uint8(c.next)
	c.args++
}

// cell adds an argument of 8 bytes or less.
func (c *call) cell(v uint64) *call {
	c.argument()
	c.cells[c.next] = v
	c.next++
	return c
}

func (c *call) ptr(p driver.Ptr) *call { return c.cell(uint64(p)) }
func (c *call) long(v int64) *call     { return c.cell(uint64(v)) }
func (c *call) float(v float32) *call  { return c.cell(uint64(math.Float32bits(v))) }
func (c *call) double(v float64) *call { return c.cell(math.Float64bits(v)) }
func (c *call) flag(v bool) *call      { return c.int(btoi(v)) }
func (c *call) status() *call {
	return c.cell(uint64(uintptr(unsafe.Pointer(unsafe.SliceData(c.d.status)))))
}
func (c *call) arrays(a ...array) *call {
	for _, x := range a {
		c.ptr(x.ptr)
	}
	return c
}

// int adds numbers of 32 bits.
func (c *call) int(v ...int) *call {
	for _, x := range v {
		c.cell(uint64(uint32(int32(x))))
	}
	return c
}

// words adds a struct.
func (c *call) words(w ...uint64) *call {
	c.argument()
	c.next += copy(c.cells[c.next:], w)
	return c
}

// rawFormat adds how a weight that is not packed is stored.
func (c *call) rawFormat(s stored) *call {
	if s.form == raw {
		return c.int(int(s.kind), code(s.dtype), s.bits, s.group)
	}
	return c.int(0, code(s.dtype), 0, 1)
}

// heads adds the struct Heads of attention.cuh: six numbers of 32 bits and two floats.
func (c *call) heads(o compute.Attention, t, offset int) *call {
	c.argument()
	words := [8]uint32{uint32(t), uint32(o.Heads), uint32(o.KVHeads), uint32(o.HeadDim), uint32(offset), uint32(o.Window),
		math.Float32bits(o.Scale), math.Float32bits(o.Softcap)}
	*(*[8]uint32)(unsafe.Pointer(&c.cells[c.next])) = words
	c.next += 4
	return c
}

// tiles adds the description of a bf16 matrix in tiles of boxRows rows by 64 columns.
func (c *call) tiles(a array, boxRows int) *call {
	m := c.tensorMap(a, boxRows)
	return c.words(m[:]...)
}

// tensorMap is the description of a bf16 matrix in tiles of boxRows rows by 64 columns.
func (c *call) tensorMap(a array, boxRows int) [16]uint64 {
	if c.d.err == nil && c.d.drv != nil {
		rows, cols := a.Shape[0], a.Shape[1]
		c.d.fail(c.d.drv.Tiles(&c.tile, a.ptr, rows, cols, cols, boxRows))
	}
	return c.tile.Words()
}

// launch queues the call. A grid without blocks does nothing.
func (c *call) launch(g driver.Grid) {
	if c.d.err != nil || g.X == 0 || c.d.drv == nil {
		return
	}
	if g.Shared == 0 {
		g.Shared = c.k.shared
	}
	if l := c.d.collecting; l != nil {
		l.records = append(l.records, record{c.k.f, c.d.programmatic(c.k, g), slices.Clone(c.cells[:c.next]), slices.Clone(c.at[:c.args])})
		if len(l.records)%mostCaptured == 0 {
			c.d.waited = false
		}
		return
	}
	if c.d.trace.add(c.k.f, c.d.programmatic(c.k, g), c.cells[:c.next], c.at[:c.args]) {
		c.d.waited = false // a graph begins with a launch of its own
	}
	c.d.freeLate()
}

// programmatic lets a kernel that waits for itself begin early, behind another one of that kind. Before it waits it reads
// weights alone, which kernels of other kinds write.
func (d *Device) programmatic(k *kernel, g driver.Grid) driver.Grid {
	g.Programmatic = d.image.Programmatic && (d.waited || d.early) && k.waits
	d.waited = k.waits
	return g
}

// issue queues a launch.
func (d *Device) issue(r record) {
	d.look()
	d.queue(r)
	d.worked()
}

func (d *Device) queue(r record) {
	if d.err != nil {
		return
	}
	c := d.call
	copy(c.cells[:], r.words)
	for i, at := range r.at {
		c.table[i] = uintptr(unsafe.Pointer(&c.cells[at]))
	}
	if err := d.drv.Launch(r.f, r.grid, &c.table[0], d.stream); err != nil {
		d.fail(fmt.Errorf("kernel %s: %w", d.kernelName(r.f), err))
	}
}

// kernelName finds the name of a kernel, for errors.
func (d *Device) kernelName(f driver.Func) string {
	for name, k := range d.kernels {
		if k.f == f {
			return name
		}
	}
	return "?"
}

// capture makes a graph of launches, in steps where they can be.
func (d *Device) capture(list []record) (driver.GraphExec, error) {
	if steps, held := d.inSteps(list); held != nil {
		g, err := d.captureAny(steps)
		if err == nil {
			d.steps[g] = held
			return g, nil
		}
		d.freeSteps(held)
		d.noSteps = true
	}
	return d.captureAny(list)
}

// captureAny makes a graph. Drivers before CUDA 12.3 take no programmatic launches in graphs.
func (d *Device) captureAny(list []record) (driver.GraphExec, error) {
	g, err := d.captureAs(list, d.programmaticGraphs)
	if err != nil && d.programmaticGraphs && slices.ContainsFunc(list, func(r record) bool { return r.grid.Programmatic }) {
		d.programmaticGraphs = false
		g, err = d.captureAs(list, false)
	}
	return g, err
}

// captureAs makes a graph, or returns an error that nothing else depends on: launches do as well.
func (d *Device) captureAs(list []record, programmatic bool) (driver.GraphExec, error) {
	if d.err != nil {
		return 0, d.err
	}
	g, err := d.drv.Capture(d.stream, func() {
		for _, r := range list {
			r.grid.Programmatic = r.grid.Programmatic && programmatic
			d.queue(r)
		}
	})
	if d.err != nil && !driver.Lost(d.err) {
		if err == nil {
			d.discard(g)
		}
		g, err, d.err = 0, d.err, nil
	}
	return g, err
}

func (d *Device) replay(g driver.GraphExec) {
	d.look()
	d.fail(d.drv.LaunchGraph(g, d.stream))
	d.worked()
}

func (d *Device) discard(g driver.GraphExec) {
	d.fail(d.drv.DestroyGraph(g))
	d.freeSteps(d.steps[g])
	delete(d.steps, g)
}

// flush queues all launches that are held back, and sets the mark of the buffers that they wrote. It comes before whatever else the
// stream is given.
func (d *Device) flush() {
	d.emit()
	d.trace.end()
	d.freeLate()
	d.waited = false
	d.setMark()
}

// each8 queues the call over n elements, 8 a thread.
func (c *call) each8(n int) { c.launch(driver.Grid{X: (n + 2047) / 2048, Threads: 256}) }

// each queues the call over n elements, one a thread.
func (c *call) each(n int) { c.launch(driver.Grid{X: (n + 255) / 256, Threads: 256}) }

// blocks queues the call with one block of 256 threads for each of n rows.
func (c *call) blocks(n int) { c.launch(driver.Grid{X: n, Threads: 256}) }

// scratch is work memory of one op, given back in the order of the stream: the next op may have it.
func (d *Device) scratch(t compute.DType, shape ...int) array {
	a := array{Spec: compute.Spec{Shape: shape, DType: t}}
	if d.err != nil {
		return a
	}
	p, n, err := d.memory(a.Bytes())
	if err != nil {
		d.fail(fmt.Errorf("work memory %v: %w", a.Spec, err))
		return a
	}
	a.ptr = p
	d.areas = append(d.areas, area{p, n})
	return a
}

// area is work memory to give back when the op is queued.
type area struct {
	ptr   driver.Ptr
	bytes int64
}

func (d *Device) freeAreas() {
	for _, a := range d.areas {
		d.release(a.ptr, a.bytes)
	}
	d.areas = d.areas[:0]
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// letter names an element type in names of kernels, code in their arguments.
func letter(t compute.DType) string {
	switch t {
	case compute.F32:
		return "f"
	case compute.F16:
		return "h"
	}
	return "b"
}

func code(t compute.DType) int {
	switch t {
	case compute.F32:
		return 0
	case compute.F16:
		return 1
	}
	return 2
}
