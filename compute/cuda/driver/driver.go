// Package driver is the part of NVIDIA's driver API that package cuda needs, called without cgo: the library that
// comes with every driver (libcuda.so.1, nvcuda.dll) is opened at run time, functions are addresses in it.
//
// Handles and device memory are plain numbers. Methods that work in a context need Use before, on the same locked thread; from
// Use on, one goroutine at a time may call. Other methods may be called from any goroutine.
package driver

import (
	"fmt"
	"unsafe"

	"github.com/lentil-lm/lentil/internal/cstring"
)

// A function of the driver, an index into names.
type function int

const (
	getErrorName function = iota
	initialize
	driverGetVersion
	deviceGetCount
	deviceGet
	deviceGetName
	deviceGetAttribute
	deviceTotalMem
	primaryCtxRetain
	primaryCtxRelease
	ctxSetCurrent
	memGetInfo
	memAllocAsync
	memFreeAsync
	deviceGetDefaultMemPool
	memPoolSetAttribute
	memPoolGetAttribute
	memPoolTrimTo
	memHostAlloc
	memFreeHost
	memHostRegister
	memHostUnregister
	memcpyHtoDAsync
	memcpyDtoHAsync
	memcpyDtoDAsync
	memsetD8Async
	moduleLoadData
	moduleGetFunction
	funcSetAttribute
	launchKernel
	streamCreate
	streamDestroy
	streamSynchronize
	streamQuery
	streamWaitEvent
	eventCreate
	eventRecord
	eventQuery
	eventSynchronize
	eventElapsedTime
	eventDestroy
	streamBeginCapture
	streamEndCapture
	graphInstantiate
	graphDestroy
	graphLaunch
	graphExecDestroy
	functions // how many there are
)

// names are the symbols of the library. A suffix is the version of a function's parameters.
var names = [functions]string{
	"cuGetErrorName", "cuInit", "cuDriverGetVersion", "cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetName",
	"cuDeviceGetAttribute", "cuDeviceTotalMem_v2", "cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRelease_v2",
	"cuCtxSetCurrent", "cuMemGetInfo_v2", "cuMemAllocAsync", "cuMemFreeAsync", "cuDeviceGetDefaultMemPool",
	"cuMemPoolSetAttribute", "cuMemPoolGetAttribute", "cuMemPoolTrimTo", "cuMemHostAlloc", "cuMemFreeHost",
	"cuMemHostRegister_v2", "cuMemHostUnregister", "cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2",
	"cuMemcpyDtoDAsync_v2", "cuMemsetD8Async", "cuModuleLoadData", "cuModuleGetFunction", "cuFuncSetAttribute",
	"cuLaunchKernel", "cuStreamCreate", "cuStreamDestroy_v2", "cuStreamSynchronize", "cuStreamQuery", "cuStreamWaitEvent", "cuEventCreate", "cuEventRecord", "cuEventQuery",
	"cuEventSynchronize", "cuEventElapsedTime", "cuEventDestroy_v2", "cuStreamBeginCapture_v2", "cuStreamEndCapture",
	"cuGraphInstantiateWithFlags", "cuGraphDestroy", "cuGraphLaunch", "cuGraphExecDestroy",
}

// Handles of the driver.
type (
	Context uintptr
	Stream  uintptr
	Module  uintptr
	Func    uintptr
	Event   uintptr
	Pool    uintptr
	Ptr     uint64 // an address in device memory
)

// A Driver is the opened library.
type Driver struct {
	path      string
	addr      [functions]uintptr
	tensorMap uintptr // cuTensorMapEncodeTiled, of drivers of CUDA 12 and later; else 0
	launchEx  uintptr // cuLaunchKernelEx; else 0
	context   Context // to make the thread's before the next call; else 0
}

// Open opens the driver's library and starts it. An empty path is the system's own. The error says what to install.
func Open(path string) (*Driver, error) {
	if path == "" {
		path = library
	}
	h, err := openLibrary(path)
	if err != nil {
		return nil, err
	}
	d := &Driver{path: path}
	for f, name := range names {
		if d.addr[f], err = symbol(h, name); err != nil {
			return nil, tooOld(fmt.Errorf("%s has no %s", path, name))
		}
	}
	d.tensorMap, _ = symbol(h, "cuTensorMapEncodeTiled")
	d.launchEx, _ = symbol(h, "cuLaunchKernelEx")
	if err := d.call(initialize, 0); err != nil {
		return nil, advise(err)
	}
	v, err := d.Version()
	if err != nil {
		return nil, err
	}
	if v < oldest {
		return nil, tooOld(fmt.Errorf("the driver is made for CUDA %s", VersionText(v)))
	}
	return d, nil
}

// VersionText writes 12040 as 12.4.
func VersionText(v int) string { return fmt.Sprintf("%d.%d", v/1000, v%1000/10) }

// call calls a function and turns its status into an error. Pointers among the arguments are kept until it returns.
//
//go:uintptrescapes
func (d *Driver) call(f function, args ...uintptr) error {
	if err := d.makeCurrent(); err != nil {
		return err
	}
	code := Code(int32(invoke(d.addr[f], args...)))
	if code == 0 {
		return nil
	}
	return &Error{Call: names[f], Code: code, Name: d.errorName(code)}
}

// errorName is the driver's own name of a code.
func (d *Driver) errorName(code Code) string {
	var s *byte
	if invoke(d.addr[getErrorName], uintptr(code), uintptr(unsafe.Pointer(&s))) != 0 {
		return ""
	}
	return cstring.Text(s, 256)
}

// Version is the newest CUDA that the driver knows, 12040 for 12.4.
func (d *Driver) Version() (int, error) {
	var v int32
	err := d.call(driverGetVersion, uintptr(unsafe.Pointer(&v)))
	return int(v), err
}

// Cards is how many devices the driver shows. CUDA_VISIBLE_DEVICES can hide some.
func (d *Driver) Cards() (int, error) {
	var n int32
	err := d.call(deviceGetCount, uintptr(unsafe.Pointer(&n)))
	return int(n), err
}

// A Card is one device of the driver.
type Card struct {
	handle uintptr
	d      *Driver

	Name   string
	Memory int64 // bytes in all
	// Capability is the compute capability, 90 for 9.0.
	Capability      int
	Multiprocessors int
	SharedMemory    int // bytes that a block may take
	ClockKHz        int
	MemoryKHz       int
	BusBits         int
	Cooperative     bool // it takes launches with Grid.Cooperative
}

// Attributes of a device, by their number in the driver's interface.
const (
	attrClock           = 13
	attrMultiprocessors = 16
	attrMemoryClock     = 36
	attrBusWidth        = 37
	attrMajor           = 75
	attrMinor           = 76
	attrCooperative     = 95
	attrSharedOptin     = 97
	attrPools           = 115
)

// Card describes device n, from 0.
func (d *Driver) Card(n int) (*Card, error) {
	var h int32
	if err := d.call(deviceGet, uintptr(unsafe.Pointer(&h)), uintptr(n)); err != nil {
		return nil, err
	}
	c := &Card{handle: uintptr(h), d: d}
	name := make([]byte, 256)
	if err := d.call(deviceGetName, uintptr(unsafe.Pointer(&name[0])), uintptr(len(name)-1), c.handle); err != nil {
		return nil, err
	}
	c.Name = cstring.Text(&name[0], len(name))
	var bytes uint64
	if err := d.call(deviceTotalMem, uintptr(unsafe.Pointer(&bytes)), c.handle); err != nil {
		return nil, err
	}
	c.Memory = int64(bytes)
	c.Capability = 10*c.attribute(attrMajor) + c.attribute(attrMinor)
	c.Multiprocessors, c.SharedMemory = c.attribute(attrMultiprocessors), c.attribute(attrSharedOptin)
	c.ClockKHz, c.MemoryKHz, c.BusBits = c.attribute(attrClock), c.attribute(attrMemoryClock), c.attribute(attrBusWidth)
	c.Cooperative = c.attribute(attrCooperative) != 0
	if c.attribute(attrPools) == 0 {
		return nil, tooOld(fmt.Errorf("the driver of %s has no memory pools", c.Name))
	}
	return c, nil
}

// attribute is 0 where the driver does not know it.
func (c *Card) attribute(a int) int {
	var v int32
	if c.d.call(deviceGetAttribute, uintptr(unsafe.Pointer(&v)), uintptr(a), c.handle) != nil {
		return 0
	}
	return int(v)
}

// Retain makes or takes the card's context.
func (c *Card) Retain() (Context, error) {
	var ctx Context
	err := c.d.call(primaryCtxRetain, uintptr(unsafe.Pointer(&ctx)), c.handle)
	return ctx, err
}

// Release gives the context back.
func (c *Card) Release() error { return c.d.call(primaryCtxRelease, c.handle) }

// Pool is the card's pool of memory, told to keep what is freed for the next buffers.
func (c *Card) Pool() (Pool, error) {
	var p Pool
	if err := c.d.call(deviceGetDefaultMemPool, uintptr(unsafe.Pointer(&p)), c.handle); err != nil {
		return 0, err
	}
	keep := ^uint64(0)
	const releaseThreshold = 4
	return p, c.d.call(memPoolSetAttribute, uintptr(p), releaseThreshold, uintptr(unsafe.Pointer(&keep)))
}

// Reserved is how many bytes of the card the pool holds, kept blocks included: now and at most.
func (d *Driver) Reserved(p Pool) (now, most int64, err error) {
	const current, high = 5, 6
	var a, b uint64
	if err = d.call(memPoolGetAttribute, uintptr(p), current, uintptr(unsafe.Pointer(&a))); err != nil {
		return 0, 0, err
	}
	err = d.call(memPoolGetAttribute, uintptr(p), high, uintptr(unsafe.Pointer(&b)))
	return int64(a), int64(b), err
}

// Trim gives kept blocks back to the card.
func (d *Driver) Trim(p Pool) error { return d.call(memPoolTrimTo, uintptr(p), 0) }

// Use makes a context that of the thread, which is locked, as soon as a call needs it: many launches are held back, and
// make none.
func (d *Driver) Use(ctx Context) { d.context = ctx }

// makeCurrent does what Use puts off.
func (d *Driver) makeCurrent() error {
	ctx := d.context
	if ctx == 0 {
		return nil
	}
	d.context = 0
	err := d.call(ctxSetCurrent, uintptr(ctx))
	if err != nil {
		d.context = ctx
	}
	return err
}

// FreeMemory is how much of the card's memory nobody has.
func (d *Driver) FreeMemory() (int64, error) {
	var free, total uint64
	err := d.call(memGetInfo, uintptr(unsafe.Pointer(&free)), uintptr(unsafe.Pointer(&total)))
	return int64(free), err
}

// Alloc takes memory in the order of the stream.
func (d *Driver) Alloc(bytes int64, s Stream) (Ptr, error) {
	var p Ptr
	err := d.call(memAllocAsync, uintptr(unsafe.Pointer(&p)), uintptr(bytes), uintptr(s))
	return p, err
}

// Free gives memory back in the order of the stream.
func (d *Driver) Free(p Ptr, s Stream) error { return d.call(memFreeAsync, uintptr(p), uintptr(s)) }

// HostAlloc takes host memory that the card copies from at full speed. The slice is not Go's: give it back with HostFree.
func (d *Driver) HostAlloc(bytes int) ([]byte, error) {
	var p unsafe.Pointer
	if err := d.call(memHostAlloc, uintptr(unsafe.Pointer(&p)), uintptr(bytes), 0); err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(p), bytes), nil
}

// HostFree gives back memory of HostAlloc.
func (d *Driver) HostFree(b []byte) error {
	return d.call(memFreeHost, uintptr(unsafe.Pointer(unsafe.SliceData(b))))
}

// Register pins host memory that is only read, a mapped file for example, until Unregister. It begins and ends at pages.
func (d *Driver) Register(b []byte) error {
	const readOnly = 8
	return d.call(memHostRegister, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), readOnly)
}

// Unregister ends Register.
func (d *Driver) Unregister(b []byte) error {
	return d.call(memHostUnregister, uintptr(unsafe.Pointer(unsafe.SliceData(b))))
}

// CopyIn copies from the host. src has to stay until the stream has come there.
func (d *Driver) CopyIn(dst Ptr, src []byte, s Stream) error {
	return d.call(memcpyHtoDAsync, uintptr(dst), uintptr(unsafe.Pointer(unsafe.SliceData(src))), uintptr(len(src)), uintptr(s))
}

// CopyOut copies to the host. dst has to stay until the stream has come there.
func (d *Driver) CopyOut(dst []byte, src Ptr, s Stream) error {
	return d.call(memcpyDtoHAsync, uintptr(unsafe.Pointer(unsafe.SliceData(dst))), uintptr(src), uintptr(len(dst)), uintptr(s))
}

// Copy copies within the card.
func (d *Driver) Copy(dst, src Ptr, bytes int64, s Stream) error {
	return d.call(memcpyDtoDAsync, uintptr(dst), uintptr(src), uintptr(bytes), uintptr(s))
}

// Set fills memory with one byte.
func (d *Driver) Set(dst Ptr, b byte, bytes int64, s Stream) error {
	return d.call(memsetD8Async, uintptr(dst), uintptr(b), uintptr(bytes), uintptr(s))
}

// Load loads a cubin, or PTX, which ends with a zero.
func (d *Driver) Load(image []byte) (Module, error) {
	var m Module
	err := d.call(moduleLoadData, uintptr(unsafe.Pointer(&m)), uintptr(unsafe.Pointer(unsafe.SliceData(image))))
	return m, err
}

// Func finds a kernel.
func (d *Driver) Func(m Module, name string) (Func, error) {
	var f Func
	err := d.call(moduleGetFunction, uintptr(unsafe.Pointer(&f)), uintptr(m), uintptr(unsafe.Pointer(cstring.New(name))))
	return f, err
}

// SetSharedMemory lets blocks of a kernel take so many bytes of dynamic shared memory.
func (d *Driver) SetSharedMemory(f Func, bytes int) error {
	const maxDynamicSharedSize = 8
	return d.call(funcSetAttribute, uintptr(f), maxDynamicSharedSize, uintptr(bytes))
}

// NewStream makes a stream that waits for no other.
func (d *Driver) NewStream() (Stream, error) {
	const nonBlocking = 1
	var s Stream
	err := d.call(streamCreate, uintptr(unsafe.Pointer(&s)), nonBlocking)
	return s, err
}

// Destroy ends a stream.
func (d *Driver) Destroy(s Stream) error { return d.call(streamDestroy, uintptr(s)) }

// Wait waits for all work of a stream.
func (d *Driver) Wait(s Stream) error { return d.call(streamSynchronize, uintptr(s)) }

// Working reports whether a stream has work that is not done.
func (d *Driver) Working(s Stream) (bool, error) {
	err := d.call(streamQuery, uintptr(s))
	if Is(err, Unfinished) {
		return true, nil
	}
	return false, err
}

// NewEvent makes an event that keeps its time.
func (d *Driver) NewEvent() (Event, error) { return d.newEvent(0) }

// NewMark makes an event without a time, which costs the card less.
func (d *Driver) NewMark() (Event, error) {
	const disableTiming = 2
	return d.newEvent(disableTiming)
}

func (d *Driver) newEvent(flags uintptr) (Event, error) {
	var e Event
	err := d.call(eventCreate, uintptr(unsafe.Pointer(&e)), flags)
	return e, err
}

// Record sets the event when the stream comes there.
func (d *Driver) Record(e Event, s Stream) error {
	return d.call(eventRecord, uintptr(e), uintptr(s))
}

// Reached reports whether the stream has come to an event.
func (d *Driver) Reached(e Event) (bool, error) {
	err := d.call(eventQuery, uintptr(e))
	if Is(err, Unfinished) {
		return false, nil
	}
	return err == nil, err
}

// WaitEvent waits for an event.
func (d *Driver) WaitEvent(e Event) error { return d.call(eventSynchronize, uintptr(e)) }

// Elapsed is the time between two events in milliseconds.
func (d *Driver) Elapsed(from, to Event) (float32, error) {
	var ms float32
	err := d.call(eventElapsedTime, uintptr(unsafe.Pointer(&ms)), uintptr(from), uintptr(to))
	return ms, err
}

// DestroyEvent ends an event.
func (d *Driver) DestroyEvent(e Event) error { return d.call(eventDestroy, uintptr(e)) }

// StreamWait lets a stream wait for an event.
func (d *Driver) StreamWait(s Stream, e Event) error {
	return d.call(streamWaitEvent, uintptr(s), uintptr(e), 0)
}

// GraphExec is a graph of launches that can be run.
type GraphExec uintptr

// Capture makes a graph of what run queues on the stream, which does not run.
func (d *Driver) Capture(s Stream, run func()) (GraphExec, error) {
	const threadLocal = 1
	if err := d.call(streamBeginCapture, uintptr(s), threadLocal); err != nil {
		return 0, err
	}
	run()
	var graph uintptr
	if err := d.call(streamEndCapture, uintptr(s), uintptr(unsafe.Pointer(&graph))); err != nil {
		return 0, err
	}
	var exec GraphExec
	err := d.call(graphInstantiate, uintptr(unsafe.Pointer(&exec)), graph, 0)
	d.call(graphDestroy, graph)
	return exec, err
}

// LaunchGraph queues a graph.
func (d *Driver) LaunchGraph(g GraphExec, s Stream) error {
	return d.call(graphLaunch, uintptr(g), uintptr(s))
}

// DestroyGraph ends a graph.
func (d *Driver) DestroyGraph(g GraphExec) error { return d.call(graphExecDestroy, uintptr(g)) }
