package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/export"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/run"
)

type fuseOptions struct {
	Model, SavePath, AdapterPath string
	Dequantize, KeepBits         bool
	TrustRemoteCode              bool
	Threads                      int
	UploadRepo                   string
	ExportGGUF, Ollama           bool
	GGUFPath, GGUFType           string
	JSON                         string
}

func newFuse(streams Streams) *cobra.Command {
	var o fuseOptions
	cmd := &cobra.Command{
		Use:   "fuse",
		Short: "Put an adapter into its model, for good",
		Long: `Write a model with the adapter's update in its weights. Into a quantized model the
update has to be rounded, which can lose it: the share that survives is measured
layer by layer, and layers that would keep less than 90 % get more bits.`,
		Example: `  lentil fuse --model ./model --adapter-path ./adapters --save-path ./fused
  lentil fuse --model ./model --save-path ./fused --dequantize`,
		GroupID: groupUse,
		Args:    noArguments,
	}
	group(cmd, "Flags", func(f *pflag.FlagSet) {
		f.StringVar(&o.Model, "model", "mlx_model", "`folder` or .gguf file of the base model")
		f.StringVar(&o.AdapterPath, "adapter-path", "adapters", "`folder` of the adapter")
		f.StringVar(&o.SavePath, "save-path", "fused_model", "`folder` to write the fused model to")
		f.BoolVar(&o.Dequantize, "dequantize", false, "write all weights dense: larger, and nothing is lost")
		f.BoolVar(&o.KeepBits, "keep-bits", false, "keep the bits of a quantized base, whatever is lost")
		f.StringVar(&o.UploadRepo, "upload-repo", "", "also upload the fused model to this `repository` of the hub")
		f.BoolVar(&o.ExportGGUF, "export-gguf", false, "also write the fused model as a GGUF file for llama.cpp, Ollama and others")
		f.StringVar(&o.GGUFPath, "gguf-path", defaultGGUF, "`file` to write it to, in the --save-path; the default follows the type")
		f.StringVar(&o.GGUFType, "gguf-type", "F16", "`type` of its weights: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q4_K_M, Q5_K_M or Q6_K")
		f.BoolVar(&o.Ollama, "ollama", false, "also write a Modelfile for Ollama; needs --export-gguf")
		f.StringVar(&o.JSON, "json", "", "also write the figures to this `file`")
		f.IntVar(&o.Threads, "threads", 0, "worker `threads`; 0 for one per core")
		f.BoolVar(&o.TrustRemoteCode, "trust-remote-code", false, "accepted for mlx-lm's sake; Lentil never runs code from a model folder")
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return runFuse(cmd.Context(), streams, o)
	}
	return cmd
}

// gguf gives the file and type of the export, and refuses options that do not go together.
func (o fuseOptions) gguf() (file string, gguf export.GGUFType, err error) {
	if o.AdapterPath == "" {
		return "", gguf, fault.Of("--adapter-path is empty: there is nothing to fuse")
	}
	if o.Ollama && !o.ExportGGUF {
		return "", gguf, fault.Of("--ollama needs --export-gguf")
	}
	if gguf, err = ggufType("gguf_type", o.GGUFType); err != nil {
		return "", gguf, err
	}
	file = ggufPath(o.SavePath, o.GGUFPath, gguf)
	if _, err := os.Lstat(file); o.ExportGGUF && err == nil && filepath.Dir(file) != filepath.Clean(o.SavePath) {
		return "", gguf, fault.Given("gguf_path", file, "this is there already").Try("Give another name, or remove it.")
	}
	return file, gguf, nil
}

func runFuse(ctx context.Context, streams Streams, o fuseOptions) error {
	file, gguf, err := o.gguf()
	if err != nil {
		return err
	}
	upload := uploadOptions{Path: o.SavePath, Repo: o.UploadRepo, Type: string(hub.Model), AdapterPath: o.AdapterPath, BaseModel: hub.RepoOf(o.Model)}
	if o.UploadRepo != "" {
		// What would stop the upload is told before the work begins.
		if _, _, err := upload.target(ctx); err != nil {
			return err
		}
	}
	fmt.Fprintln(streams.Out, "Loading pretrained model")
	options := streams.opening(o.Threads)
	options.Adapter = o.AdapterPath
	e, err := engine.Open(ctx, o.Model, options)
	if err != nil {
		return err
	}
	defer e.Close()
	if err := ctx.Err(); err != nil {
		return err
	}
	card, err := cardOf(upload, "")
	if err != nil {
		fmt.Fprintf(streams.Err, "README.md of the fused model will tell nothing of its training: %v\n", err)
	}
	bar := streams.bar(nil)
	report, err := export.Fuse(e.Model, e.Tokenizer, export.FuseOptions{
		AdapterPath: o.AdapterPath, SavePath: o.SavePath, Card: card, Dequantize: o.Dequantize, KeepBits: o.KeepBits,
		Progress: func(_ string, done, total int) { bar.Set("Fusing", done, total) },
	})
	bar.Clear()
	if err != nil {
		return err
	}
	printFuseReport(streams.Out, report)
	if o.ExportGGUF {
		// Out of the base and the adapter: the fused folder may be rounded already.
		_, err := writeGGUF(streams, e.Files, ggufExport{
			path: file, typ: gguf, ollama: o.Ollama, model: e.Model, name: filepath.Base(filepath.Clean(o.SavePath)),
		})
		if err != nil {
			return err
		}
	}
	if err := writeFigures(o.JSON, report); err != nil || o.UploadRepo == "" {
		return err
	}
	return thenUpload(ctx, streams, upload)
}

func printFuseReport(w io.Writer, r export.FuseReport) {
	if worst, ok := r.Worst(); ok {
		fmt.Fprintf(w, "Of the adapter's update %.1f %% is in the fused weights", 100*r.Survival)
		if r.Raised > 0 {
			fmt.Fprintf(w, "; %d layers got more bits (at the base's bits: %.1f %%)", r.Raised, 100*r.AtBase)
		}
		fmt.Fprintf(w, ".\nWorst layer: %s, %.1f %%, %s", worst.Module, 100*worst.Survival, worst.From)
		if worst.To != worst.From {
			fmt.Fprintf(w, " to %s", worst.To)
		}
		fmt.Fprintln(w, ".")
		if r.Survival < export.EnoughSurvival {
			fmt.Fprintln(w, "Much of it is lost: leave --keep-bits out, or give --dequantize.")
		}
	}
	fmt.Fprintf(w, "Saved the fused model to %s (%s).\nAsk it: lentil generate --model %s --prompt \"...\"\n", r.Path, run.Bytes(r.Bytes), r.Path)
}
