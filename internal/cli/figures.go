package cli

import (
	"encoding/json"
	"fmt"
	"math"

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
	if err := atomicfile.Write(path, append(text, '\n')); err != nil {
		return fault.At("json", "%w", err)
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
