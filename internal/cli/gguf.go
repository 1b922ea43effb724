package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/export"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/run"
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

// ggufType reads the type of a GGUF file's weights.
func ggufType(setting fault.Setting, name string) (export.GGUFType, error) {
	t, err := export.ParseGGUFType(name)
	if err != nil {
		return t, fault.At(setting, "%w", err)
	}
	return t, nil
}

// exportGGUF writes the model at a path as a GGUF file.
func exportGGUF(ctx context.Context, streams Streams, from string, o export.GGUFOptions) (export.GGUFReport, error) {
	files, err := engine.OpenFiles(ctx, from, streams.opening(0))
	if err != nil {
		return export.GGUFReport{}, err
	}
	defer files.Close()
	if err := ctx.Err(); err != nil {
		return export.GGUFReport{}, err
	}
	o.Stop = ctx.Err
	report, err := writeGGUF(streams, files, o)
	if err != nil {
		return report, err
	}
	return report, printGGUF(streams.Out, o, report)
}

// writeGGUF writes an opened model as a GGUF file.
func writeGGUF(streams Streams, from *engine.Files, o export.GGUFOptions) (export.GGUFReport, error) {
	fmt.Fprintln(streams.Out, "Converting to GGUF format")
	bar := streams.bar(nil)
	defer bar.Clear()
	o.Progress = func(_ string, done, total int) { bar.Set("Writing", done, total) }
	report, err := export.GGUF(from.Source, from.Tokenizer, o)
	return report, fault.Mark(err)
}

// printGGUF tells of a file that has its name.
func printGGUF(out io.Writer, o export.GGUFOptions, report export.GGUFReport) error {
	fmt.Fprintf(out, "Converted GGUF model saved as: %s\n", o.Path)
	if slices.Sort(report.Whole); len(report.Whole) > 0 {
		fmt.Fprintf(out, "In a larger type, since their rows do not divide into the blocks of %s: %d of the matrices.\n", o.Type, len(slices.Compact(report.Whole)))
	}
	fmt.Fprintf(out, "%s, %s\n", o.Type, run.Bytes(report.Bytes))
	if report.Window > 0 {
		fmt.Fprintf(out, "Its context is %d tokens, the model's attention window: llama.cpp has no windows in this family, and beyond would answer otherwise.\n", report.Window)
	}
	if len(report.LostEnds) > 0 {
		fmt.Fprintf(out, "These end an answer, but not in llama.cpp, which has three places for such tokens: %s\n", strings.Join(report.LostEnds, " "))
	}
	if !o.Modelfile {
		return nil
	}
	folder, err := filepath.Abs(filepath.Dir(o.Path))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "For Ollama: ollama create %s -f %s\n", filepath.Base(folder), filepath.Join(filepath.Dir(o.Path), filepath.Base(report.Modelfile)))
	return nil
}
