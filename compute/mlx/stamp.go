package mlx

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/lentil-lm/lentil/internal/atomicfile"
	"github.com/lentil-lm/lentil/internal/smallfile"
)

// A trial takes a second or more. One that went well is remembered, in the user's cache, for as long as the files that
// took part are the same: the library, MLX's own beside it, and this program.

// stampOf tells the files of a trial, or is empty where one cannot be told.
func stampOf(path string) string {
	program, err := os.Executable()
	if err != nil {
		return ""
	}
	var parts []string
	for _, file := range append([]string{program, path}, besides(path)...) {
		info, err := os.Stat(file)
		if err != nil {
			return ""
		}
		real, err := filepath.EvalSymlinks(file)
		if err != nil {
			return ""
		}
		parts = append(parts, fmt.Sprintf("%s %d %d", real, info.Size(), info.ModTime().UnixNano()))
	}
	return strings.Join(parts, "\n") + "\n"
}

// besides are MLX's own libraries where they lie beside its C library, as Homebrew links both.
func besides(path string) []string {
	found, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "libmlx.*"))
	return found
}

// notePath is where the last trial that went well is noted; empty without a folder for it. Tests change it.
var notePath = func() string {
	folder, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(folder, "lentil", "mlx-trial")
}

// stampBytes is the most that a note takes.
const stampBytes = 1 << 16

// tried reports whether the last trial that went well was of these files.
func tried(stamp string) bool {
	data, err := smallfile.Read(notePath(), stampBytes)
	return err == nil && string(data) == stamp
}

// remember notes a trial that went well. Without a note the next process tries again.
func remember(stamp string) {
	path := notePath()
	if path == "" || os.MkdirAll(filepath.Dir(path), 0o777) != nil {
		return
	}
	_ = atomicfile.Write(path, []byte(stamp))
}
