package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/export"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model"
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

// exportGGUF writes the model at a path as a GGUF file, with a Modelfile beside it if ollama is set.
func exportGGUF(ctx context.Context, streams Streams, from, to string, t export.GGUFType, ollama bool) (export.GGUFReport, error) {
	files, err := engine.OpenFiles(ctx, from, streams.opening(0))
	if err != nil {
		return export.GGUFReport{}, err
	}
	defer files.Close()
	if err := ctx.Err(); err != nil {
		return export.GGUFReport{}, err
	}
	return writeGGUF(streams, files, ggufExport{path: to, typ: t, ollama: ollama})
}

// ggufExport says what writeGGUF writes, and where.
type ggufExport struct {
	path   string
	typ    export.GGUFType
	ollama bool         // also a Modelfile beside it
	model  *model.Model // with its adapter; nil for the source as it is
	name   string       // of the model; "" for the source's
}

// writeGGUF writes an opened model as a GGUF file.
func writeGGUF(streams Streams, from *engine.Files, o ggufExport) (export.GGUFReport, error) {
	fmt.Fprintln(streams.Out, "Converting to GGUF format")
	bar := streams.bar(nil)
	report, err := export.GGUF(from.Source, from.Tokenizer, export.GGUFOptions{
		Path: o.path, Type: o.typ, Model: o.model, Name: o.name, Progress: func(_ string, done, total int) { bar.Set("Writing", done, total) },
	})
	bar.Clear()
	if err != nil {
		return report, fault.Mark(err)
	}
	fmt.Fprintf(streams.Out, "Converted GGUF model saved as: %s\n", o.path)
	if slices.Sort(report.Whole); len(report.Whole) > 0 {
		fmt.Fprintf(streams.Out, "In a larger type, since their rows do not divide into the blocks of %s: %d of the matrices.\n", o.typ, len(slices.Compact(report.Whole)))
	}
	fmt.Fprintf(streams.Out, "%s, %s\n", o.typ, run.Bytes(report.Bytes))
	if len(report.LostEnds) > 0 {
		fmt.Fprintf(streams.Out, "These end an answer, but not in llama.cpp, which has three places for such tokens: %s\n", strings.Join(report.LostEnds, " "))
	}
	if !o.ollama {
		return report, nil
	}
	path, err := export.WriteModelfile(o.path, from.Source.Path(), from.Source.Config(), from.Tokenizer)
	if err != nil {
		return report, err
	}
	folder, err := filepath.Abs(filepath.Dir(o.path))
	if err != nil {
		return report, err
	}
	fmt.Fprintf(streams.Out, "For Ollama: ollama create %s -f %s\n", filepath.Base(folder), path)
	return report, nil
}
