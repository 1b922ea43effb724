// Package mlxc is the part of MLX's C interface (mlx-c 0.6 and 0.7) that package mlx needs, called without cgo: the
// library is opened at run time, functions are addresses in it.
//
// Handles are structs of one pointer, which C passes as a plain integer on amd64 and arm64, by value too. Streams belong
// to an OS thread, and there is one handler of errors: a library has one locked thread, on which everything but Open
// runs (Do).
package mlxc

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"github.com/lentil-lm/lentil/internal/cstring"
)

// A Library is MLX's opened C library.
type Library struct {
	path  string
	minor int // of mlx-c's version 0.minor
	addr  [functions]uintptr

	rmsNorm func(res *Array, x, w Array, eps float32, s Stream) int32
	// attention is fast_scaled_dot_product_attention, which has forceFused since 0.7.
	attention  func(res *Array, q, k, v Array, scale float32, mode *byte, mask, sinks Array, forceFused bool, s Stream) int32
	attention6 func(res *Array, q, k, v Array, scale float32, mode *byte, mask, sinks Array, s Stream) int32

	calls chan func()

	// failed is what the library said last: a call that fails tells the handler before it returns.
	failed string
	live   int // handles of arrays
	types  typesOf
	watch  watch
}

// Array is a handle, 0 for none.
type Array uintptr

// Stream is where work is queued.
type Stream uintptr

// Type is the type of an array's elements.
type Type int

// The types that Lentil's buffers have.
const (
	Bool Type = 0
	U8   Type = 1
	U32  Type = 3
	I32  Type = 7
	F16  Type = 9
	F32  Type = 10
	BF16 Type = 12
)

var (
	openMu sync.Mutex
	opened = map[string]*Library{}
)

// Open opens the library at path, once, and tells its version by what is in it. The error says what to install.
func Open(path string) (*Library, error) {
	openMu.Lock()
	defer openMu.Unlock()
	if l := opened[path]; l != nil {
		return l, nil
	}
	h, err := openLibrary(path)
	if err != nil {
		return nil, install(fmt.Errorf("MLX: %w", err))
	}
	l := &Library{path: path, calls: make(chan func(), callsAhead)}
	if l.minor, err = version(h); err != nil {
		return nil, install(fmt.Errorf("%s: %w", path, err))
	}
	for f, name := range names {
		if l.addr[f], err = symbol(h, "mlx_"+name); err != nil {
			return nil, install(fmt.Errorf("%s (mlx-c 0.%d) has no mlx_%s", path, l.minor, name))
		}
	}
	register(&l.rmsNorm, l.addr[fastRMSNorm])
	if l.minor >= 7 {
		register(&l.attention, l.addr[fastAttention])
	} else {
		register(&l.attention6, l.addr[fastAttention])
	}
	go l.serve()
	l.Do(func() {
		handler := callback(func(message *byte, _ uintptr) { l.failed = cstring.Text(message, longest) })
		l.call(setErrorHandler, handler, 0, 0)
	})
	opened[path] = l
	return l, nil
}

// version is the minor version of mlx-c, which nothing in the library tells: each brought functions that were new.
// From one to the next, arguments of old ones change.
func version(h uintptr) (int, error) {
	has := func(name string) bool { _, err := symbol(h, name); return err == nil }
	switch {
	case !has("mlx_array_new"):
		return 0, errors.New("it is not MLX's C library (no mlx_array_new)")
	case has("mlx_stream_new_thread_unsafe"):
		return 7, nil
	case has("mlx_bartlett"):
		return 6, nil
	}
	return 0, errors.New("mlx-c is older than 0.6, whose functions take other arguments")
}

// Interface is the version of mlx-c.
func (l *Library) Interface() string { return fmt.Sprintf("0.%d", l.minor) }

// Path is where the library was found.
func (l *Library) Path() string { return l.path }

// Live is how many handles of arrays there are.
func (l *Library) Live() int { return l.live }

// callsAhead is how many calls of Go may wait for the library's thread.
const callsAhead = 4

// Go runs f on the library's thread, behind what was given before, and waits only where too many wait already.
func (l *Library) Go(f func()) { l.calls <- f }

// Do is Go that waits for f.
func (l *Library) Do(f func()) {
	done := make(chan struct{})
	l.Go(func() {
		defer close(done)
		f()
	})
	<-done
}

// serve is the library's thread.
func (l *Library) serve() {
	runtime.LockOSThread()
	for f := range l.calls {
		f()
	}
}

// call calls a function. Pointers among the arguments are kept until it returns.
//
//go:uintptrescapes
func (l *Library) call(f function, args ...uintptr) uintptr {
	begun := l.watch.begin()
	r := invoke(l.addr[f], args...)
	l.watch.end(begun)
	return r
}

// do calls a function that returns 0, or tells the handler what is wrong.
//
//go:uintptrescapes
func (l *Library) do(f function, args ...uintptr) error {
	return l.check(f, int32(l.call(f, args...)))
}

func (l *Library) check(f function, status int32) error {
	if status == 0 {
		return nil
	}
	said := l.failed
	l.failed = ""
	if said == "" {
		said = fmt.Sprintf("status %d", status)
	}
	return fmt.Errorf("mlx_%s: %s", names[f], said)
}

// size calls a function that gives a size.
func (l *Library) size(f function) (int64, error) {
	n := new(uint64)
	err := l.do(f, uintptr(unsafe.Pointer(n)))
	return int64(*n), err
}

// Version is MLX's.
func (l *Library) Version() (string, error) {
	s := new(uintptr)
	*s = l.call(stringNew)
	defer func() { l.call(stringFree, *s) }()
	if err := l.do(versionOf, uintptr(unsafe.Pointer(s))); err != nil {
		return "", err
	}
	return cstring.Text(pointer(l.call(stringData, *s)), longest), nil
}

// Metal tells whether there is a GPU of Apple's.
func (l *Library) Metal() (bool, error) {
	b := new(bool)
	err := l.do(metalIsAvailable, uintptr(unsafe.Pointer(b)))
	return *b, err
}

// NewStream is the default stream of the GPU or the processor.
func (l *Library) NewStream(gpu bool) (Stream, error) {
	f := defaultCPUStream
	if gpu {
		f = defaultGPUStream
	}
	s := Stream(l.call(f))
	if s == 0 {
		return 0, l.check(f, 1)
	}
	return s, nil
}

// FreeStream gives the handle back.
func (l *Library) FreeStream(s Stream) { l.call(streamFree, uintptr(s)) }

// Wait waits for all work of a stream.
func (l *Library) Wait(s Stream) error { return l.do(synchronize, uintptr(s)) }

// GPUFact is a number that MLX tells of the GPU ("max_recommended_working_set_size"), or 0.
func (l *Library) GPUFact(name string) int64 {
	const gpu = 1
	dev := l.call(deviceNewType, gpu, 0)
	defer l.call(deviceFree, dev)
	info := new(uintptr)
	*info = l.call(deviceInfoNew)
	defer func() { l.call(deviceInfoFree, *info) }()
	if l.do(deviceInfoGet, uintptr(unsafe.Pointer(info)), dev) != nil {
		return 0
	}
	n := new(uint64)
	if l.do(deviceInfoGetSize, uintptr(unsafe.Pointer(n)), *info, uintptr(unsafe.Pointer(cstring.New(name)))) != nil {
		return 0
	}
	return int64(*n)
}

// Memory is how many bytes arrays take, took at most, and how many MLX keeps for the next.
func (l *Library) Memory() (active, peak, cache int64, err error) {
	active, e1 := l.size(getActiveMemory)
	peak, e2 := l.size(getPeakMemory)
	cache, e3 := l.size(getCacheMemory)
	return active, peak, cache, errors.Join(e1, e2, e3)
}

// ResetPeak starts a new measurement.
func (l *Library) ResetPeak() error { return l.do(resetPeakMemory) }

// ClearCache gives back what MLX keeps.
func (l *Library) ClearCache() error { return l.do(clearCache) }

// LimitCache is how many bytes MLX may keep.
func (l *Library) LimitCache(bytes int64) error {
	was := new(uint64)
	return l.do(setCacheLimit, uintptr(unsafe.Pointer(was)), uintptr(bytes))
}

// LimitMemory is how many bytes arrays may take before work that is under way is waited for.
func (l *Library) LimitMemory(bytes int64) error {
	was := new(uint64)
	return l.do(setMemoryLimit, uintptr(unsafe.Pointer(was)), uintptr(bytes))
}

// LimitWired is how many bytes stay in the GPU's reach between pieces of work.
func (l *Library) LimitWired(bytes int64) error {
	was := new(uint64)
	return l.do(setWiredLimit, uintptr(unsafe.Pointer(was)), uintptr(bytes))
}

// pointer is an address of C's memory.
func pointer(addr uintptr) *byte { return *(**byte)(unsafe.Pointer(&addr)) }

// longest is how much of a text of the library is read, in bytes.
const longest = 4096
