package driver

import (
	"fmt"
	"unsafe"
)

// Grid is the extent of a launch: blocks in three dimensions, threads of a block, dynamic shared memory in bytes.
type Grid struct {
	X, Y, Z int // 0 is 1
	Threads int
	Shared  int
	// Programmatic lets the kernel begin while the kernels before it still run. It waits for them itself, before it
	// touches what they touch. Cards before 9.0 have no such launches.
	Programmatic bool
	// Cooperative runs all blocks at the same time, so that they can wait for each other. A card that does not hold them all
	// refuses the launch.
	Cooperative bool
}

// Launch starts a kernel. args are the addresses of its arguments, which it copies.
func (d *Driver) Launch(f Func, g Grid, args *uintptr, s Stream) error {
	if g.Cooperative && d.launchEx == 0 { // else its blocks could wait for ever
		return tooOld(fmt.Errorf("%s has no cuLaunchKernelEx, which launches kernels whose blocks wait for each other", d.path))
	}
	if (g.Cooperative || g.Programmatic) && d.launchEx != 0 {
		return d.launchWithAttributes(f, g, args, s)
	}
	return d.call(launchKernel, uintptr(f), uintptr(max(g.X, 1)), uintptr(max(g.Y, 1)), uintptr(max(g.Z, 1)),
		uintptr(g.Threads), 1, 1, uintptr(g.Shared), uintptr(s), uintptr(unsafe.Pointer(args)), 0)
}

// launchConfig is the driver's CUlaunchConfig, with room for the attributes that it points to.
type launchConfig struct {
	grid, block [3]uint32
	shared      uint32
	stream      Stream
	attributes  unsafe.Pointer
	count       uint32
	list        [2]launchAttribute
}

// launchAttribute is the driver's CUlaunchAttribute.
type launchAttribute struct {
	id    uint32
	_     uint32
	value [16]uint32
}

// Attributes of a launch, by their number in the driver's interface: all blocks run at the same time, and it does not wait
// for the end of the kernels before it.
const (
	cooperative               = 2
	programmaticSerialization = 6
)

// set adds an attribute with the value 1.
func (c *launchConfig) set(id uint32) {
	c.list[c.count].id, c.list[c.count].value[0] = id, 1
	c.count++
}

func (d *Driver) launchWithAttributes(f Func, g Grid, args *uintptr, s Stream) error {
	if err := d.makeCurrent(); err != nil {
		return err
	}
	c := &launchConfig{
		grid:  [3]uint32{uint32(max(g.X, 1)), uint32(max(g.Y, 1)), uint32(max(g.Z, 1))},
		block: [3]uint32{uint32(g.Threads), 1, 1}, shared: uint32(g.Shared), stream: s,
	}
	c.attributes = unsafe.Pointer(&c.list)
	if g.Cooperative {
		c.set(cooperative)
	}
	if g.Programmatic {
		c.set(programmaticSerialization)
	}
	code := Code(int32(invoke(d.launchEx, uintptr(unsafe.Pointer(c)), uintptr(f), uintptr(unsafe.Pointer(args)), 0)))
	if code == 0 {
		return nil
	}
	return &Error{Call: "cuLaunchKernelEx", Code: code, Name: d.errorName(code)}
}
