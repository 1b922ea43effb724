package driver

import "unsafe"

// Grid is the extent of a launch: blocks in three dimensions, threads of a block, dynamic shared memory in bytes.
type Grid struct {
	X, Y, Z int // 0 is 1
	Threads int
	Shared  int
	// Programmatic lets the kernel begin while the kernels before it still run. It waits for them itself, before it
	// touches what they touch. Cards before 9.0 have no such launches.
	Programmatic bool
}

// Launch starts a kernel. args are the addresses of its arguments, which it copies.
func (d *Driver) Launch(f Func, g Grid, args *uintptr, s Stream) error {
	if g.Programmatic && d.launchEx != 0 {
		return d.launchProgrammatic(f, g, args, s)
	}
	return d.call(launchKernel, uintptr(f), uintptr(max(g.X, 1)), uintptr(max(g.Y, 1)), uintptr(max(g.Z, 1)),
		uintptr(g.Threads), 1, 1, uintptr(g.Shared), uintptr(s), uintptr(unsafe.Pointer(args)), 0)
}

// launchConfig is the driver's CUlaunchConfig, with the one attribute that it points to.
type launchConfig struct {
	grid, block [3]uint32
	shared      uint32
	stream      Stream
	attributes  unsafe.Pointer
	count       uint32
	attribute   struct {
		id    uint32
		_     uint32
		value [16]uint32
	}
}

// programmaticSerialization is the attribute of a launch that does not wait for the end of the kernels before it.
const programmaticSerialization = 6

func (d *Driver) launchProgrammatic(f Func, g Grid, args *uintptr, s Stream) error {
	if err := d.makeCurrent(); err != nil {
		return err
	}
	c := &launchConfig{
		grid:  [3]uint32{uint32(max(g.X, 1)), uint32(max(g.Y, 1)), uint32(max(g.Z, 1))},
		block: [3]uint32{uint32(g.Threads), 1, 1}, shared: uint32(g.Shared), stream: s, count: 1,
	}
	c.attribute.id, c.attribute.value[0] = programmaticSerialization, 1
	c.attributes = unsafe.Pointer(&c.attribute)
	code := Code(int32(invoke(d.launchEx, uintptr(unsafe.Pointer(c)), uintptr(f), uintptr(unsafe.Pointer(args)), 0)))
	if code == 0 {
		return nil
	}
	return &Error{Call: "cuLaunchKernelEx", Code: code, Name: d.errorName(code)}
}
