package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile"
)

// writeFigures writes what a command printed as JSON, for --json FILE; an empty path writes nothing.
func writeFigures(path string, figures any) error {
	if path == "" {
		return nil
	}
	text, err := json.MarshalIndent(figures, "", "    ")
	if err != nil {
		return fault.Given("json", path, "%w", err)
	}
	if rest, ok := bytes.CutPrefix(text, []byte("{\n")); ok { // a list has no place for it
		text = append([]byte(figuresMark), rest...)
	}
	if err := atomicfile.Write(path, append(text, '\n')); err != nil {
		return fault.At("json", "%w", err)
	}
	return nil
}

// figuresMark begins files of figures: a later command may replace those.
const figuresMark = "{\n    \"lentil_figures\": 1,\n"

// checkFigures refuses, before a command does anything, a --json FILE that could not be written or holds what Lentil did
// not write there.
func checkFigures(path string) error { return checkFiguresOf("json", path) }

// checkFiguresOf is checkFigures for a file that another setting names.
func checkFiguresOf(setting fault.Setting, path string) error {
	if path == "" {
		return nil
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// A link may lead to a file that is still to come.
		if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
			return fault.Given(setting, path, "there is no folder %s", filepath.Dir(path)).Try("Make it, or give another file.")
		}
		return nil
	case err != nil:
		return fault.At(setting, "%w", err)
	case info.IsDir():
		return fault.Given(setting, path, "this is a folder, expected a file")
	case !info.Mode().IsRegular() || info.Size() == 0:
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return fault.At(setting, "%w", err)
	}
	defer file.Close()
	begin := make([]byte, len(figuresMark))
	if _, err := io.ReadFull(file, begin); err != nil || string(begin) != figuresMark {
		return fault.Given(setting, path, "this is there already, and holds no figures of an earlier command").Try("Give another file, or remove it.")
	}
	return nil
}

// figure makes a number fit for JSON, which has no NaN or infinity: those become null.
func figure(f float64) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return f
}

// gigabytes is n in units of 1e9 bytes, as mlx-lm prints memory.
func gigabytes(n int64) string { return fmt.Sprintf("%.3f GB", float64(n)/1e9) }
