package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

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
	Overwrite                    bool
	Dequantize, KeepBits         bool
	TrustRemoteCode              bool
	deviceFlags
	UploadRepo         string
	ExportGGUF, Ollama bool
	GGUFPath, GGUFType string
	JSON               string
}

func newFuse(streams Streams) *cobra.Command {
	var o fuseOptions
	cmd := &cobra.Command{
		Use:   "fuse",
		Short: "Put an adapter into its model, for good",
		Long: `Write a model with the adapter's update in its weights. Into a quantized model the
update has to be rounded, which can lose it: the share that survives is measured
matrix by matrix, and matrices that would keep less than 90 % get more bits.`,
		Example: `  lentil fuse --model ./model --adapter-path ./adapters --save-path ./fused
  lentil fuse --model ./model --save-path ./fused --dequantize`,
		GroupID: groupUse,
		Args:    noArguments,
	}
	group(cmd, "Flags", func(f *pflag.FlagSet) {
		f.StringVar(&o.Model, "model", "mlx_model", "`folder` or .gguf file of the base model")
		f.StringVar(&o.AdapterPath, "adapter-path", "adapters", "`folder` of the adapter")
		f.StringVar(&o.SavePath, "save-path", "fused_model", "`folder` to write the fused model to")
		f.BoolVar(&o.Overwrite, "overwrite", false, "replace what is at --save-path and --gguf-path, whoever wrote it")
		f.BoolVar(&o.Dequantize, "dequantize", false, "write all weights dense: larger, and nothing is lost")
		f.BoolVar(&o.KeepBits, "keep-bits", false, "keep the bits of a quantized base, whatever is lost")
		f.StringVar(&o.UploadRepo, "upload-repo", "", "also upload the fused model to this `repository` of the hub")
		f.BoolVar(&o.ExportGGUF, "export-gguf", false, "also write the fused model as a GGUF file for llama.cpp, Ollama and others")
		f.StringVar(&o.GGUFPath, "gguf-path", defaultGGUF, "`file` to write it to, in the --save-path; the default follows the type")
		f.StringVar(&o.GGUFType, "gguf-type", "F16", "`type` of its weights: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q4_K_M, Q5_K_M or Q6_K")
		f.BoolVar(&o.Ollama, "ollama", false, "also write a Modelfile for Ollama; needs --export-gguf")
		f.StringVar(&o.JSON, "json", "", "also write the figures to this `file`")
		o.deviceFlags.declare(f)
		f.BoolVar(&o.TrustRemoteCode, "trust-remote-code", false, "")
		ignore(f.Lookup("trust-remote-code"), noRemoteCode)
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return runFuse(cmd.Context(), streams, o)
	}
	return cmd
}

// gguf says what the export writes, and refuses options that do not go together and what cannot be written to.
func (o *fuseOptions) gguf() (file export.GGUFOptions, err error) {
	if o.AdapterPath == "" {
		return file, fault.Of("--adapter-path is empty: there is nothing to fuse")
	}
	if o.Ollama && !o.ExportGGUF {
		return file, fault.Of("--ollama needs --export-gguf")
	}
	if file.Type, err = ggufType("gguf_type", o.GGUFType); err != nil {
		return file, err
	}
	file.Path, file.Name = ggufPath(o.SavePath, o.GGUFPath, file.Type), filepath.Base(filepath.Clean(o.SavePath))
	file.Overwrite, file.Modelfile = o.Overwrite, o.Ollama
	return file, o.checkPaths(file)
}

func runFuse(ctx context.Context, streams Streams, o fuseOptions) error {
	streams.presses.stopping("Stopping: the new model is not written, and what stood in its place stays. Ctrl-C again ends at once.")
	file, err := o.gguf()
	if err != nil {
		return err
	}
	upload := uploadOptions{Path: o.SavePath, Repo: o.UploadRepo, Type: string(hub.Model), AdapterPath: o.AdapterPath, BaseModel: hub.RepoOf(o.Model)}
	if o.UploadRepo != "" {
		// What would stop the upload is told before the work begins.
		if _, _, err := upload.target(ctx, streams); err != nil {
			return err
		}
	}
	fmt.Fprintln(streams.Out, "Loading pretrained model")
	options := o.opening(streams)
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
	file.Stop = ctx.Err
	report, err := o.fuse(streams, e, card, file)
	if err != nil {
		return err
	}
	if err := writeFigures(o.JSON, report); err != nil || o.UploadRepo == "" {
		return err
	}
	return thenUpload(ctx, streams, upload)
}

// within tells the name of the GGUF file in the folder that is written, if it goes there.
func (o *fuseOptions) within(file export.GGUFOptions) (string, bool) {
	name, err := filepath.Rel(o.SavePath, file.Path)
	return name, err == nil && filepath.IsLocal(name)
}

// checkPaths refuses what cannot be written to before the work begins.
func (o *fuseOptions) checkPaths(file export.GGUFOptions) error {
	if err := export.CheckTarget(o.SavePath, o.Model, o.AdapterPath, o.Overwrite); err != nil {
		return err
	}
	if _, inside := o.within(file); inside || !o.ExportGGUF {
		return nil
	}
	return export.CheckGGUFPath("gguf_path", o.Model, file)
}

// fuse writes the folder and the GGUF file, in the folder or elsewhere.
func (o *fuseOptions) fuse(streams Streams, e *engine.Engine, card hub.Card, file export.GGUFOptions) (export.FuseReport, error) {
	bar := streams.bar(nil)
	defer bar.Clear()
	settings := export.FuseOptions{
		AdapterPath: o.AdapterPath, SavePath: o.SavePath, Overwrite: o.Overwrite, Card: card, Dequantize: o.Dequantize, KeepBits: o.KeepBits,
		Progress: func(_ string, done, total int) { bar.Set("Fusing", done, total) }, Stop: file.Stop,
	}
	// Out of the base and the adapter: the fused folder may be rounded already.
	file.Model = e.Model
	var exported export.GGUFReport
	name, inside := o.within(file)
	if o.ExportGGUF && inside {
		settings.More = func(dir string) (err error) {
			staged := file
			staged.Path = filepath.Join(dir, name)
			bar.Clear()
			exported, err = writeGGUF(streams, e.Files, staged)
			return err
		}
	}
	report, err := export.Fuse(e.Model, e.Tokenizer, settings)
	bar.Clear()
	if err != nil {
		return report, err
	}
	noteFused(o.AdapterPath, report)
	printFuseReport(streams.Out, report, o.Model)
	if o.ExportGGUF && !inside {
		exported, err = writeGGUF(streams, e.Files, file)
	}
	if err != nil || !o.ExportGGUF {
		return report, err
	}
	return report, printGGUF(streams.Out, file, exported)
}

// fuseRemedy says how more of an update survives than in r, fused into base.
func fuseRemedy(r export.FuseReport, base string) string {
	if quantized, _ := r.Rounded(); quantized {
		return "leave --keep-bits out, or give --dequantize."
	}
	dense := strings.TrimSuffix(filepath.Base(filepath.Clean(base)), ".gguf") + "-float32"
	return typed(fmt.Sprintf("it is smaller than the steps of 16-bit numbers. Fuse it into the base in float32, which this makes:\nlentil convert --model %s --mlx-path %s --dequantize --dtype float32", base, dense))
}

// printFuseReport tells of a fusion into the model base.
func printFuseReport(w io.Writer, r export.FuseReport, base string) {
	if worst, ok := r.Worst(); ok {
		fmt.Fprintf(w, "Of the adapter's update %.1f %% is in the fused weights", 100*r.Survival)
		if r.Raised > 0 {
			fmt.Fprintf(w, "; %d of %d matrices got more bits (at the base's bits: %.1f %%)", r.Raised, len(r.Layers), 100*r.AtBase)
		}
		fmt.Fprintf(w, ".\nWorst matrix: %s, %.1f %%, %s", worst.Module, 100*worst.Survival, worst.From)
		if worst.To != worst.From {
			fmt.Fprintf(w, " to %s", worst.To)
		}
		fmt.Fprintln(w, ".")
		if r.Survival < export.EnoughSurvival {
			fmt.Fprintf(w, "Much of it is lost: %s\n", fuseRemedy(r, base))
		}
	}
	fmt.Fprintf(w, "Saved the fused model to %s (%s).\nAsk it: %s generate --model %s --prompt \"...\"\n", r.Path, run.Bytes(r.Bytes), program(), r.Path)
}
