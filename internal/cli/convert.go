package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/export"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/quant"
)

type convertOptions struct {
	Model, MLXPath       string
	Quantize, Dequantize bool
	Bits, Group          int
	Mode, Recipe, Rule   string
	Quant, Calibration   string
	TargetBPW            float64
	CalibrationTokens    int
	deviceFlags
	DType, GGUF       string
	Ollama, Overwrite bool
	UploadRepo, JSON  string
	TrustRemoteCode   bool
}

func newConvert(streams Streams) *cobra.Command {
	var o convertOptions
	cmd := &cobra.Command{
		Use:   "convert",
		Short: "Write a model in another format: quantized, dense, GGUF",
		Long: `Write a model, a folder or GGUF file, as a folder that Lentil and mlx-lm read:
quantized to 2 to 8 bits, dense, or in another floating-point type. With --gguf it
becomes a GGUF file for llama.cpp, Ollama and others.`,
		Example: `  lentil convert --model ./model --mlx-path ./model-4bit -q
  lentil convert --model ./model --mlx-path ./model-auto --quant auto --target-bpw 4.5
  lentil convert --model ./model.gguf --mlx-path ./model-bf16 -d --dtype bfloat16
  lentil convert --model ./model --mlx-path ./model.gguf --gguf Q4_K_M`,
		GroupID: groupUse,
		Args:    noArguments,
	}
	group(cmd, "Flags", func(f *pflag.FlagSet) {
		f.StringVar(&o.Model, "model", "", "`folder`, .gguf file or repository to convert (required)")
		f.StringVar(&o.Model, "hf-path", "", "the same as --model")
		f.StringVar(&o.MLXPath, "mlx-path", "mlx_model", "`folder` to write, which must not exist; with --gguf also a file")
		f.BoolVar(&o.Overwrite, "overwrite", false, "replace what is at --mlx-path")
		f.StringVar(&o.DType, "dtype", "", "`type` of all numbers that are not quantized: float16, bfloat16 or float32; default: that of config.json")
		f.BoolVarP(&o.Dequantize, "dequantize", "d", false, "write all weights dense")
		f.StringVar(&o.UploadRepo, "upload-repo", "", "also upload the folder to this `repository` of the hub")
		f.StringVar(&o.JSON, "json", "", "also write the figures to this `file`")
		f.BoolVar(&o.TrustRemoteCode, "trust-remote-code", false, "")
		ignore(f.Lookup("trust-remote-code"), noRemoteCode)
	})
	group(cmd, "Quantization", func(f *pflag.FlagSet) {
		f.BoolVarP(&o.Quantize, "quantize", "q", false, "quantize the weights")
		f.IntVar(&o.Bits, "q-bits", 0, "`bits` of a weight: 2, 3, 4, 5, 6 or 8; default 4, or what the mode has")
		f.IntVar(&o.Group, "q-group-size", 0, "`weights` that share a scale: 32, 64 or 128; default 64, or what the mode has")
		f.StringVar(&o.Mode, "q-mode", "affine", "`way` to quantize: affine, mxfp4, nvfp4 or mxfp8")
		f.StringVar(&o.Recipe, "quant-predicate", "", "`recipe` that gives some matrices more bits: "+strings.Join(export.Recipes(), ", "))
		f.StringVar(&o.Rule, "q-rule", "metal", "`rounding` of MLX on which device: metal or cpu")
	})
	group(cmd, "Bits where they matter", func(f *pflag.FlagSet) {
		f.StringVar(&o.Quant, "quant", "", "auto: measure on a text what rounding each matrix costs, and choose its `bits` by that")
		f.Float64Var(&o.TargetBPW, "target-bpw", 0, "`bits` per weight that the model may take, scales included; default 4.5")
		f.StringVar(&o.Calibration, "calibration", "", "text `file` or dataset to measure on, best of what the model is for; default: a handbook that comes with Lentil")
		f.IntVar(&o.CalibrationTokens, "calibration-tokens", 0, "measure on `n` tokens at most; default 2048")
		o.deviceFlags.declare(f)
	})
	group(cmd, "GGUF", func(f *pflag.FlagSet) {
		f.StringVar(&o.GGUF, "gguf", "", "write a GGUF file of this `type`: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q4_K_M, Q5_K_M or Q6_K")
		f.BoolVar(&o.Ollama, "ollama", false, "write a Modelfile for Ollama beside the GGUF file")
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return runConvert(cmd.Context(), streams, o)
	}
	return cmd
}

// check finds mistakes before any work is done.
func (o convertOptions) check() error {
	switch {
	case o.Model == "":
		return fault.Missing("model").Try("Give the folder, .gguf file or repository to convert.")
	case o.Quantize && o.Dequantize:
		return fault.Of("--quantize and --dequantize exclude each other")
	case o.Rule != "metal" && o.Rule != "cpu":
		return fault.Value("q_rule", o.Rule, "metal or cpu")
	case o.Quant != "" && o.Dequantize:
		return fault.Of("--quant and --dequantize exclude each other")
	case !o.Quantize && o.Quant == "" && (o.Bits != 0 || o.Group != 0 || o.Recipe != "" || o.Mode != "affine"):
		return fault.Of("--q-bits, --q-group-size, --q-mode and --quant-predicate need -q")
	case o.Bits != 0 && !slices.Contains([]int{2, 3, 4, 5, 6, 8}, o.Bits):
		return fault.Value("q_bits", o.Bits, "2, 3, 4, 5, 6 or 8")
	case o.Mode != "affine" && o.Recipe != "":
		return fault.Of("--quant-predicate needs --q-mode affine")
	case o.GGUF != "" && (o.Quantize || o.Quant != "" || o.Dequantize || o.DType != "" || o.UploadRepo != ""):
		return fault.Of("--gguf says how weights are stored: leave -q, --quant, -d, --dtype and --upload-repo out")
	case o.GGUF == "" && o.Ollama:
		return fault.Of("--ollama needs --gguf")
	}
	if _, err := quant.ParseMode(o.Mode); err != nil {
		return fault.At("q_mode", "%w", err)
	}
	if _, ok := dtypeNames[o.DType]; o.DType != "" && !ok {
		return fault.Value("dtype", o.DType, "float16, bfloat16 or float32")
	}
	return o.checkAuto()
}

var dtypeNames = map[string]quant.DType{"float16": quant.F16, "bfloat16": quant.BF16, "float32": quant.F32}

func runConvert(ctx context.Context, streams Streams, o convertOptions) error {
	streams.presses.stopping("Stopping: the new model is not written, and what stood in its place stays. Ctrl-C again ends at once.")
	if err := o.check(); err != nil {
		return err
	}
	if o.Quant != "" {
		o.Quantize = true
		o.TargetBPW = cmp.Or(o.TargetBPW, 4.5)
		o.CalibrationTokens = cmp.Or(o.CalibrationTokens, 2048)
	}
	if o.GGUF != "" {
		return convertToGGUF(ctx, streams, o)
	}
	if err := export.CheckPath("mlx_path", o.MLXPath, o.Model, o.Overwrite); err != nil {
		return err
	}
	upload := uploadOptions{Path: o.MLXPath, Repo: o.UploadRepo, Type: string(hub.Model), BaseModel: hub.RepoOf(o.Model)}
	if o.UploadRepo != "" {
		if _, _, err := upload.target(ctx, streams); err != nil {
			return err
		}
	}
	fmt.Fprintln(streams.Out, "[INFO] Loading")
	report, figures, err := convertFolder(ctx, streams, o, upload.BaseModel)
	if err != nil {
		return err
	}
	if o.Quantize {
		fmt.Fprintf(streams.Out, "[INFO] Quantized model with %.3f bits per weight.\n", report.BitsPerWeight)
	}
	fmt.Fprintf(streams.Out, "Saved to %s. Ask it: %s generate --model %s --prompt \"...\"\n", o.MLXPath, program(), o.MLXPath)
	if err := writeFigures(o.JSON, figures); err != nil || o.UploadRepo == "" {
		return err
	}
	return thenUpload(ctx, streams, upload)
}

// convertFolder writes the folder; base is the repository of the model, if it has one. figures are what --json holds: the report, or
// one that holds it.
func convertFolder(ctx context.Context, streams Streams, o convertOptions, base string) (report export.ConvertReport, figures any, err error) {
	files, err := engine.OpenFiles(ctx, o.Model, o.opening(streams))
	if err != nil {
		return report, nil, err
	}
	defer files.Close()
	name := o.DType
	if name == "" {
		name = configDType(files.Source.Config())
	}
	dtype := dtypeNames[name]
	if dtype != 0 {
		fmt.Fprintf(streams.Out, "[INFO] Using dtype: %s\n", name)
	}
	switch {
	case o.Quantize:
		fmt.Fprintln(streams.Out, "[INFO] Quantizing")
	case o.Dequantize:
		fmt.Fprintln(streams.Out, "[INFO] Dequantizing")
	}
	rule := quant.RuleMetal
	if o.Rule == "cpu" {
		rule = quant.RuleCPU
	}
	bar := streams.bar(nil)
	defer bar.Clear()
	settings := export.ConvertOptions{
		SavePath: o.MLXPath, Overwrite: o.Overwrite, BaseModel: base, Quantize: o.Quantize, Mode: o.Mode, Bits: o.Bits, Group: o.Group, Recipe: o.Recipe, Dequantize: o.Dequantize,
		DType: dtype, Rule: rule, Progress: func(_ string, done, total int) { bar.Set("Converting", done, total) }, Stop: ctx.Err,
	}
	if o.Quant != "" {
		a := &autoConversion{options: o, streams: streams, files: files}
		err = a.run(ctx, settings)
		return a.report.ConvertReport, a.report, err
	}
	if report, err = export.Convert(files.Source, files.Tokenizer, settings); err != nil {
		return report, nil, fault.Mark(err)
	}
	return report, report, nil
}

// configDType is the type that config.json names, "" if it names none that weights are cast to.
func configDType(config []byte) string {
	var c struct {
		Torch string `json:"torch_dtype"`
		Text  struct {
			DType string `json:"dtype"`
		} `json:"text_config"`
	}
	if json.Unmarshal(config, &c) != nil {
		return "" // opening the model says what is wrong
	}
	name := c.Torch
	if name == "" {
		name = c.Text.DType
	}
	if dtypeNames[name] == 0 {
		return ""
	}
	return name
}

func convertToGGUF(ctx context.Context, streams Streams, o convertOptions) error {
	t, err := ggufType("gguf", o.GGUF)
	if err != nil {
		return err
	}
	path := o.MLXPath
	if filepath.Ext(path) != ".gguf" {
		path = ggufPath(path, "", t)
	}
	file := export.GGUFOptions{Path: path, Type: t, Overwrite: o.Overwrite, Modelfile: o.Ollama}
	if err := export.CheckGGUFPath("mlx_path", o.Model, file); err != nil {
		return err
	}
	report, err := exportGGUF(ctx, streams, o.Model, file)
	if err != nil {
		return err
	}
	return writeFigures(o.JSON, report)
}
