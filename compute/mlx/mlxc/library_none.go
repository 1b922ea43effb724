//go:build static || !((linux || darwin) && (amd64 || arm64))

package mlxc

import (
	"runtime"

	"github.com/lentil-lm/lentil/fault"
)

func openLibrary(string) (uintptr, error) {
	if runtime.GOOS == "linux" || runtime.GOOS == "darwin" {
		return 0, fault.Of("this program was built without it (-tags static)").Try("Take the other build, which opens libraries at run time.")
	}
	return 0, fault.Of("there is no MLX for %s on %s", runtime.GOOS, runtime.GOARCH)
}

func symbol(uintptr, string) (uintptr, error) { panic("no library was opened") }

// invoke fails as functions of the library do; without a library nothing calls it.
func invoke(uintptr, ...uintptr) uintptr { return 1 }

func callback(func(text *byte, data uintptr)) uintptr { panic("no library was opened") }

func register(any, uintptr) { panic("no library was opened") }
