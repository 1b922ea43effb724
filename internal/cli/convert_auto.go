package cli

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/demo"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/eval"
	"github.com/lentil-lm/lentil/export"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/train"
	"github.com/lentil-lm/lentil/tune"
)

const (
	calibrationWindow = 256 // tokens that are read together
	heldOutEvery      = 5   // of so many windows one is kept for the perplexity
)

// autoFigures is what convert's --json writes of a conversion with chosen bits.
type autoFigures struct {
	export.ConvertReport
	Target     float64            `json:"target_bpw"`
	Tokens     int                `json:"calibration_tokens"`
	HeldOut    int64              `json:"held_out_tokens"`
	Before     any                `json:"perplexity_before"`
	After      any                `json:"perplexity_after"`
	Divergence float64            `json:"expected_divergence"` // nats per token, of all matrices together
	Layers     []export.LayerBits `json:"layers"`
}

// autoConversion is a conversion that chooses bits by a calibration text.
type autoConversion struct {
	options convertOptions
	streams Streams
	files   *engine.Files
	report  autoFigures
}

// run measures, chooses, writes with these settings and measures again.
func (a *autoConversion) run(ctx context.Context, settings export.ConvertOptions) error {
	calibration, held, err := a.texts(ctx)
	if err != nil {
		return err
	}
	a.report.Target = a.options.TargetBPW
	before, err := a.measure(ctx, a.files, held, func(m *model.Model) error {
		bar := a.streams.bar(nil)
		defer bar.Clear()
		s, err := export.MeasureSensitivity(ctx, m, calibration, func(done, total int) { bar.Set("Calibrating", done, total) })
		if err != nil {
			return err
		}
		a.report.Tokens = s.Tokens
		bar.Set("Choosing bits", 0, 0)
		if a.report.Layers, err = export.AllocateBits(ctx, a.files.Source, s, settings, a.options.TargetBPW); err != nil {
			return fault.Mark(err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	settings.BitsOf = map[string]int{}
	for _, l := range a.report.Layers {
		settings.BitsOf[l.Module] = l.Bits
		a.report.Divergence += l.Error
	}
	if a.report.ConvertReport, err = export.Convert(a.files.Source, a.files.Tokenizer, settings); err != nil {
		return fault.Mark(err)
	}
	written, err := engine.OpenFiles(ctx, settings.SavePath, engine.Options{})
	if err != nil {
		return err
	}
	defer written.Close()
	after, err := a.measure(ctx, written, held, nil)
	if err != nil {
		return err
	}
	a.report.HeldOut = before.Tokens
	a.report.Before, a.report.After = figure(before.Value()), figure(after.Value())
	a.print(a.streams.Out, before, after)
	return nil
}

// texts are the tokens of the calibration text in windows: those to calibrate
// with and, spread over the text, those to measure perplexity on.
func (a *autoConversion) texts(ctx context.Context) (calibration, held [][]int32, err error) {
	name, ids := "the built-in text", []int32(nil)
	if path := a.options.Calibration; path != "" {
		name = path
		if ids, err = a.tokens(ctx, path); err != nil {
			return nil, nil, err
		}
	} else if ids, err = a.files.Tokenizer.Encode(demo.Handbook(), false); err != nil {
		return nil, nil, err
	}
	windows := slices.Collect(slices.Chunk(ids, calibrationWindow))
	if len(windows) > 1 && len(windows[len(windows)-1]) < calibrationWindow {
		windows = windows[:len(windows)-1]
	}
	if len(windows) < 2 {
		return nil, nil, fault.At("calibration", "%s has %d tokens, expected at least %d", name, len(ids), 2*calibrationWindow).Try("Give a longer text.")
	}
	for i, w := range windows {
		if i%heldOutEvery == min(heldOutEvery, len(windows))-1 {
			held = append(held, w)
		} else {
			calibration = append(calibration, w)
		}
	}
	most := max(a.options.CalibrationTokens/calibrationWindow, 1)
	return spread(calibration, most), spread(held, most), nil
}

// spread picks most windows from all over the text.
func spread(windows [][]int32, most int) [][]int32 {
	if len(windows) <= most {
		return windows
	}
	out := make([][]int32, most)
	for i := range out {
		out[i] = windows[i*len(windows)/most]
	}
	return out
}

// tokens reads a text file, or the training rows of a dataset as the model sees
// them, as many as are of use.
func (a *autoConversion) tokens(ctx context.Context, path string) ([]int32, error) {
	text, ok, err := textFile(path)
	if err != nil {
		return nil, fault.At("calibration", "%w", err)
	}
	if ok {
		return a.files.Tokenizer.Encode(text, false)
	}
	splits, err := tune.FindData(ctx, tune.DataQuery{Data: path, Train: true}, a.streams.tuning(a.streams.lines()))
	if err != nil {
		return nil, fault.At("calibration", "%w", err)
	}
	template, err := a.files.Template()
	if err != nil {
		return nil, err
	}
	rows, err := dataset.NewEncoder(a.files.Tokenizer, template, dataset.EncoderOptions{}).Rows(splits.Train)
	if err != nil {
		return nil, fault.At("calibration", "%w", err)
	}
	var ids []int32
	for i := 0; i < rows.Len() && len(ids) < 2*heldOutEvery*a.options.CalibrationTokens; i++ {
		item, err := rows.Item(i)
		if err != nil {
			return nil, fault.At("calibration", "%w", err)
		}
		ids = append(ids, item.IDs...)
	}
	return ids, nil
}

// measure takes the perplexity of a model over the held-out windows, then calls
// further with it.
func (a *autoConversion) measure(ctx context.Context, files *engine.Files, held [][]int32, further func(*model.Model) error) (eval.Perplexity, error) {
	var p eval.Perplexity
	e, err := files.Load(ctx, a.options.opening(a.streams))
	if err != nil {
		return p, err
	}
	defer e.Close()
	rows := make([]train.Example, len(held))
	for i, ids := range held {
		rows[i] = train.Example{IDs: ids, Loss: [][2]int{{1, len(ids)}}}
	}
	bar := a.streams.bar(nil)
	p, err = eval.Measure(ctx, e.Model, rows, eval.Options{BatchSize: 1, Progress: func(done, total int) { bar.Set("Perplexity", done, total) }})
	bar.Clear()
	if err != nil || further == nil {
		return p, err
	}
	return p, further(e.Model)
}

// print shows a line for each matrix and the sums.
func (a *autoConversion) print(out io.Writer, before, after eval.Perplexity) {
	width := len("Matrix")
	for _, l := range a.report.Layers {
		width = max(width, len(l.Module))
	}
	fmt.Fprintf(out, "%-*s  Bits  Error (1e-6 nats per token)\n", width, "Matrix")
	for _, l := range a.report.Layers {
		fmt.Fprintf(out, "%-*s  %4d  %27.1f\n", width, l.Module, l.Bits, 1e6*l.Error)
	}
	fmt.Fprintf(out, "Calibrated on %d tokens; all matrices together are expected to cost %.4f nats per token.\n", a.report.Tokens, a.report.Divergence)
	fmt.Fprintf(out, "Perplexity on %d other tokens: %.3f before, %.3f after (%+.2f %%).\n",
		after.Tokens, before.Value(), after.Value(), 100*math.Expm1(after.Loss-before.Loss))
}

// checkAuto finds mistakes in the flags of --quant auto.
func (o convertOptions) checkAuto() error {
	switch {
	case o.Quant == "":
		if o.TargetBPW != 0 || o.Calibration != "" || o.CalibrationTokens != 0 {
			return fault.Of("--target-bpw, --calibration and --calibration-tokens need --quant auto")
		}
		return nil
	case o.Quant != "auto":
		return fault.Value("quant", o.Quant, "auto").Try("For the same bits everywhere give -q and --q-bits or --q-mode.")
	case o.Bits != 0 || o.Recipe != "" || o.Mode != "affine":
		return fault.Of("--quant auto chooses the bits: leave --q-bits, --q-mode and --quant-predicate out")
	case math.IsNaN(o.TargetBPW) || o.TargetBPW < 0:
		return fault.Value("target_bpw", o.TargetBPW, "a number of bits, such as 4.5")
	case o.CalibrationTokens < 0:
		return fault.Value("calibration_tokens", o.CalibrationTokens, "a number of tokens")
	}
	return nil
}
