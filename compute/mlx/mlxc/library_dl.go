//go:build (linux || darwin) && (amd64 || arm64) && !static

package mlxc

import "github.com/ebitengine/purego"

func openLibrary(path string) (uintptr, error) {
	return purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
}

func symbol(h uintptr, name string) (uintptr, error) { return purego.Dlsym(h, name) }

// invoke calls a function of C that takes no floats.
//
//go:uintptrescapes
func invoke(f uintptr, args ...uintptr) uintptr {
	r, _, _ := purego.SyscallN(f, args...)
	return r
}

// callback is a function for C to call. It is never given back.
func callback(f func(text *byte, data uintptr)) uintptr { return purego.NewCallback(f) }

// register makes f, a pointer to a function, call a function of C that takes floats.
func register(f any, addr uintptr) { purego.RegisterFunc(f, addr) }
