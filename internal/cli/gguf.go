package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/export"
	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/weights"
)

// defaultGGUF is mlx-lm's name of an exported file.
const defaultGGUF = "ggml-model-f16.gguf"

// ggufPath is where an export goes: name under dir, unless name has a root of its own. The default name
// follows the type.
func ggufPath(dir, name string, t export.GGUFType) string {
	if name == "" || name == defaultGGUF {
		name = "ggml-model-" + strings.ToLower(t.String()) + ".gguf"
	}
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}

// ggufType reads --gguf-type, or whatever the flag is called.
func ggufType(flag, name string) (export.GGUFType, error) {
	t, err := export.ParseGGUFType(name)
	if err != nil {
		return t, usage("--%s: %w", flag, err)
	}
	return t, nil
}

// exportGGUF writes the model at a path as a GGUF file, with a Modelfile beside it if ollama is set.
func exportGGUF(ctx context.Context, streams Streams, from, to string, t export.GGUFType, ollama bool) (export.GGUFReport, error) {
	var report export.GGUFReport
	from, err := localModel(ctx, streams, from, hub.ModelPatterns)
	if err != nil {
		return report, err
	}
	tok, err := loadTokenizer(from)
	if err != nil {
		return report, err
	}
	src, err := weights.Open(from)
	if err != nil {
		return report, inputError(err)
	}
	defer src.Close()
	if err := ctx.Err(); err != nil {
		return report, err
	}
	fmt.Fprintln(streams.Out, "Converting to GGUF format")
	bar := streams.bar(nil)
	report, err = export.GGUF(src, tok, export.GGUFOptions{
		Path: to, Type: t, Progress: func(_ string, done, total int) { bar.Set("Writing", done, total) },
	})
	bar.Clear()
	if err != nil {
		return report, inputError(err)
	}
	fmt.Fprintf(streams.Out, "Converted GGUF model saved as: %s\n", to)
	if slices.Sort(report.Whole); len(report.Whole) > 0 {
		fmt.Fprintf(streams.Out, "In a larger type, since their rows do not divide into the blocks of %s: %d of the matrices.\n", t, len(slices.Compact(report.Whole)))
	}
	fmt.Fprintf(streams.Out, "%s, %s\n", t, run.Bytes(report.Bytes))
	if !ollama {
		return report, nil
	}
	path, err := export.WriteModelfile(to, tok)
	if err != nil {
		return report, err
	}
	fmt.Fprintf(streams.Out, "For Ollama: ollama create %s -f %s\n", filepath.Base(filepath.Dir(to)), path)
	return report, nil
}
