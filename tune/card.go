package tune

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/eval/score"
	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/internal/jsonpos"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/weights"
)

// Describe puts the settings and figures of the run that filled a folder into a model card: from run.json and the
// event log, or, where mlx-lm trained, from adapter_config.json. A folder without them tells nothing.
func Describe(card *hub.Card, folder string) error {
	dir, best := runOf(folder)
	settings, files, err := trainingOf(dir)
	if err != nil || settings == nil {
		return err
	}
	if name, _ := settings["model"].(string); card.BaseModel == "" {
		card.BaseModel = hub.RepoOf(name)
	}
	trained, measuredOn := namesOf(files, settings["test"] == true)
	if path, _ := settings["eval_questions"].(string); path != "" {
		measuredOn = append(measuredOn, filepath.Base(path))
	}
	card.Data, card.Measured = dataName(settings["data"], trained), strings.Join(measuredOn, ", ")
	records, err := eventsOf(dir)
	if err != nil {
		return err
	}
	_, resumed := settings["resume_adapter_file"].(string)
	settings["iters"] = iterations(records, settings["iters"], resumed)
	switch {
	case best == nil:
		card.Settings = settingRows(settings)
	case dir == filepath.Clean(folder):
		card.Settings = append(settingRows(settings), bestRow(best))
	default:
		settings["iters"] = fmt.Sprintf("%d, of a run that went on and %s", best.Iteration-1,
			map[bool]string{true: "answered no better", false: "validated worse"}[best.Questions > 0])
		card.Settings = settingRows(settings)
		records = before(records, best.Iteration)
	}
	card.Results = measured(records, resumed)
	return asked(card, folder)
}

// bestRow names the adapter that --save-best kept, and what it was best by.
func bestRow(best *run.BestSaved) hub.CardRow {
	file := bestDir + "/" + adapter.File
	if best.Questions > 0 {
		return hub.CardRow{Name: "most right answers", Value: fmt.Sprintf("%d of %d after iteration %d: %s", best.Right, best.Questions, best.Iteration-1, file)}
	}
	return hub.CardRow{Name: "best validation", Value: fmt.Sprintf("iteration %d, loss %.3f: %s", best.Iteration, best.Loss, file)}
}

// asked adds what an evaluation of the folder's weights found, and which questions it asked. One of other weights tells nothing of these.
func asked(card *hub.Card, folder string) error {
	r, err := score.ReadResults(filepath.Join(folder, score.Folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	tuned := r.Tuned()
	if file, err := run.HashFile(filepath.Join(folder, adapter.File)); err != nil || file.SHA256 != r.Columns[tuned].SHA256 {
		return nil
	}
	for _, row := range r.Rows {
		if row.Metric == score.Right {
			name := fmt.Sprintf("%s (%d questions)", row.Title(), row.N)
			if row.Against[tuned] != nil {
				name += ": " + row.Against[tuned].String()
			}
			card.Results = append(card.Results, hub.CardFigure{Name: name, Base: row.Scores[0].String(), Tuned: row.Scores[tuned].String()})
		}
	}
	for _, t := range r.Texts {
		card.Results = append(card.Results, hub.CardFigure{Name: "perplexity of " + filepath.Base(t.Name), Base: fmt.Sprintf("%.3f", t.Perplexity[0]), Tuned: fmt.Sprintf("%.3f", t.Perplexity[tuned])})
	}
	for _, set := range r.Sets {
		card.Measured = strings.TrimPrefix(card.Measured+", "+filepath.Base(set.Path), ", ")
	}
	return nil
}

// runOf is the folder of the run that an adapter's folder is of, and the run's best validation if its adapter is kept:
// in the folder best of it.
func runOf(folder string) (dir string, best *run.BestSaved) {
	folder = filepath.Clean(folder)
	if m, err := run.ReadManifest(folder); err == nil {
		return folder, m.Best
	}
	if above := filepath.Dir(folder); filepath.Base(folder) == bestDir {
		if m, err := run.ReadManifest(above); err == nil && m.Best != nil {
			return above, m.Best
		}
	}
	return folder, nil
}

// eventsOf reads the events of a run; a folder without a log has none.
func eventsOf(folder string) ([]run.Record, error) {
	records, err := run.ReadLog(filepath.Join(folder, run.LogName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return records, err
}

// before leaves out what was measured of weights that came after a validation.
func before(records []run.Record, iteration int) []run.Record {
	return slices.DeleteFunc(slices.Clone(records), func(r run.Record) bool {
		switch e := r.Event.(type) {
		case run.Validation:
			return e.Iteration > iteration
		case run.TestReport:
			return true
		}
		return false
	})
}

// namesOf parts the files of a run into those that it was trained on and those that it was
// only measured on. Without a test, the test set was not used.
func namesOf(files []run.DataFile, tested bool) (trained, measured []string) {
	for _, f := range files {
		name := filepath.Base(f.Path)
		switch {
		case len(f.Splits) == 0 || slices.Contains(f.Splits, "train") || slices.Contains(f.Splits, replaySplit):
			trained = append(trained, name)
		case tested || slices.Contains(f.Splits, "valid"):
			measured = append(measured, name)
		}
	}
	return trained, measured
}

// iterations tells how many a folder's weights were trained for: as the log says, which
// knows where a run was stopped and what it went on from, else as was planned.
func iterations(records []run.Record, planned any, resumed bool) any {
	var earlier []int
	done := 0
	for _, r := range records {
		switch e := r.Event.(type) {
		case run.Start:
			earlier, done = e.Earlier, 0
		case run.Saved:
			done = e.Iteration
		}
	}
	if done > 0 {
		planned = done
	}
	switch {
	case len(earlier) > 0 && done > 0:
		sum, parts := done, ""
		for _, n := range earlier {
			sum, parts = sum+n, parts+fmt.Sprintf("%d + ", n)
		}
		return fmt.Sprintf("%d (%s%d)", sum, parts, done)
	case resumed && planned != nil:
		return fmt.Sprintf("%v, on weights that were trained before", planned)
	}
	return planned
}

// trainingOf reads the settings of a training run, nil if there are none, and the files it read.
func trainingOf(folder string) (settings map[string]any, files []run.DataFile, err error) {
	manifest, err := run.ReadManifest(folder)
	if err == nil {
		settings = map[string]any{}
		for key, v := range manifest.Settings {
			settings[key] = v
		}
		settings["model"] = manifest.Model
		return settings, manifest.Data, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	path := filepath.Join(folder, adapter.ConfigFile)
	text, err := weights.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err == nil {
		err = jsonpos.Error(path, text, json.Unmarshal(text, &settings))
	}
	return settings, nil, err
}

// dataName tells what a run was trained on without telling of this machine: a repository, the files, or
// the last part of the path.
func dataName(data any, files []string) string {
	name, _ := data.(string)
	if _, err := os.Stat(name); err != nil && hub.LooksLikeRepo(name) {
		if ref, err := hub.ParseRef(name, hub.Dataset); err == nil {
			return strings.TrimSuffix(ref.Repo.ID+"@"+ref.Revision, "@")
		}
		return name
	}
	if len(files) > 0 {
		return strings.Join(files, ", ")
	}
	if name = filepath.Base(name); name == "." || name == string(filepath.Separator) {
		return ""
	}
	return name
}

// settingRows are the settings that a reader of the card can make something of.
func settingRows(settings map[string]any) (rows []hub.CardRow) {
	add := func(name string, v any) {
		if v != nil {
			rows = append(rows, hub.CardRow{Name: strings.ReplaceAll(name, "_", " "), Value: fmt.Sprint(v)})
		}
	}
	add("fine_tune_type", settings["fine_tune_type"])
	if lora, ok := settings[keyLoRA].(map[string]any); ok {
		for _, name := range []string{"rank", "scale", "dropout"} {
			add("LoRA "+name, lora[name])
		}
	}
	if mode := settings["train_mode"]; mode == dpo || mode == orpo {
		add("train_mode", mode)
		add("beta", settings["beta"])
	}
	for _, name := range []string{"num_layers", "iters", "batch_size", "grad_accumulation_steps", "learning_rate", "optimizer", "max_seq_length", "mask_prompt", "seed"} {
		add(name, settings[name])
	}
	return rows
}

// measured gives the perplexities that the last run in a log took, or how often it preferred the chosen answers of pairs:
// of the base model, before the first step, and of what became of it. resumed says that the run began with another's
// adapter.
func measured(records []run.Record, resumed bool) []hub.CardFigure {
	var valid, test hub.CardFigure
	name := func(figures run.Figures) string {
		if len(figures) > 0 {
			return "chosen answers preferred"
		}
		return "perplexity"
	}
	for _, r := range records {
		switch e := r.Event.(type) {
		case run.Start:
			if e.FirstIteration <= 1 { // another run in the same folder
				valid.Base, valid.Tuned, test.Tuned = "", "", ""
			}
		case run.Validation:
			valid.Name = name(e.Figures) + " on the validation set"
			if e.Iteration <= 1 {
				if !resumed {
					valid.Base = measureText(e.Loss, e.Figures)
				}
				continue
			}
			valid.Tuned = measureText(e.Loss, e.Figures)
		case run.TestReport:
			test.Name = name(e.Figures) + " on the test set"
			test.Tuned = measureText(e.Loss, e.Figures)
		}
	}
	var out []hub.CardFigure
	for _, f := range []hub.CardFigure{valid, test} {
		if f.Base != "" || f.Tuned != "" {
			out = append(out, f)
		}
	}
	return out
}

// measureText is a loss as a perplexity, or the share of the pairs whose chosen answer is preferred, with the mean margin.
// A model has no margin over itself.
func measureText(loss float64, figures run.Figures) string {
	if len(figures) == 0 {
		return perplexityText(loss)
	}
	right, ok := figures.Get(run.RewardsAccuracies)
	margin, _ := figures.Get(run.RewardsMargins)
	if !ok || math.IsNaN(right) || math.IsNaN(margin) || margin == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f %%, margin %.3f", 100*right, margin)
}

// perplexityText is a loss as a perplexity, "" if it is none.
func perplexityText(loss float64) string {
	p := math.Exp(loss)
	if math.IsNaN(p) || math.IsInf(p, 0) {
		return ""
	}
	return fmt.Sprintf("%.3f", p)
}
