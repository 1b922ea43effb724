package mlxc

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/lentil-lm/lentil/fault"
)

// Variable names the library where it lies elsewhere.
const Variable = "LENTIL_MLXC"

// Find is the path of the library: that of $LENTIL_MLXC, or the first that there is beside the program and where
// Homebrew and others install it. The error says what to install.
func Find() (string, error) {
	if path := os.Getenv(Variable); path != "" {
		if info, err := os.Stat(path); err != nil {
			return "", fault.Of("$%s: %w", Variable, err).Try("Set it to the path of %s, or unset it.", fileName(runtime.GOOS))
		} else if info.IsDir() {
			return "", fault.Of("$%s: %s is a folder", Variable, path).Try("Set it to the path of %s in it.", fileName(runtime.GOOS))
		}
		return path, nil
	}
	program, _ := os.Executable()
	places := places(runtime.GOOS, program, os.Getenv("HOMEBREW_PREFIX"))
	for _, path := range places {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", install(fmt.Errorf("MLX's C library was not found as %s", strings.Join(places, ", ")))
}

// fileName is the library's on a system.
func fileName(system string) string {
	if system == "darwin" {
		return "libmlxc.dylib"
	}
	return "libmlxc.so"
}

// places lists where the library is looked for, in that order.
func places(system, program, homebrew string) []string {
	var dirs []string
	if program != "" {
		dirs = append(dirs, filepath.Dir(program))
	}
	if homebrew != "" {
		dirs = append(dirs, filepath.Join(homebrew, "lib"))
	}
	if system == "darwin" && homebrew != "/opt/homebrew" {
		dirs = append(dirs, "/opt/homebrew/lib")
	}
	if homebrew != "/usr/local" {
		dirs = append(dirs, "/usr/local/lib")
	}
	for i, dir := range dirs {
		dirs[i] = filepath.Join(dir, fileName(system))
	}
	return dirs
}

// install adds what to install.
func install(err error) error {
	if runtime.GOOS == "darwin" {
		return fault.Of("%w", err).Try("Install it: brew install mlx-c. If it is there already: brew upgrade mlx-c. $%s names another copy.", Variable)
	}
	return fault.Of("%w", err).Try("$%s names the library (mlx-c 0.6 or 0.7) where it lies elsewhere.", Variable)
}
