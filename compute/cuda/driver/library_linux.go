//go:build linux && (amd64 || arm64) && !static

package driver

import "github.com/ebitengine/purego"

// library comes with the driver.
const library = "libcuda.so.1"

func openLibrary(path string) (uintptr, error) {
	h, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return 0, missing(err)
	}
	return h, nil
}

func symbol(h uintptr, name string) (uintptr, error) { return purego.Dlsym(h, name) }

// invoke calls a function of C.
//
//go:uintptrescapes
func invoke(f uintptr, args ...uintptr) uintptr {
	r, _, _ := purego.SyscallN(f, args...)
	return r
}
