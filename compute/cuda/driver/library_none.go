//go:build static || !(windows || (linux && (amd64 || arm64)))

package driver

import (
	"runtime"

	"github.com/lentil-lm/lentil/fault"
)

const library = ""

func openLibrary(string) (uintptr, error) {
	if runtime.GOOS == "linux" || runtime.GOOS == "windows" {
		return 0, fault.Of("NVIDIA cards: this program was built without them (-tags static)").Try("Take the other build, which opens the driver at run time.")
	}
	return 0, fault.Of("NVIDIA cards: there is no driver for %s on %s", runtime.GOOS, runtime.GOARCH)
}

func symbol(uintptr, string) (uintptr, error) { panic("no library was opened") }

// invoke fails as the driver does before it was started: CUDA_ERROR_NOT_INITIALIZED.
func invoke(uintptr, ...uintptr) uintptr { return 3 }
