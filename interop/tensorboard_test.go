package interop

import (
	"encoding/json"
	"math"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/lentil-lm/lentil/demo"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/run/tensorboard"
)

// TestTensorBoard: TensorBoard's reader finds the figures of a run's log in its event files.
func TestTensorBoard(t *testing.T) {
	need(t, "TensorBoard")
	dir := t.TempDir()
	if err := demo.Write(dir, false); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	lentil(t, "train", "--model", at("model"), "--data", at("data"), "--adapter-path", at("adapters"), "--iters", "20", "--batch-size", "2", "--steps-per-eval", "10",
		"--steps-per-report", "5", "--mask-prompt", "--val-batches", "1", "--report-to", "tensorboard")
	var got struct {
		Scalars map[string][][2]float64
		Texts   map[string][][2]any
		Plugins map[string]string
	}
	cmd := exec.Command("../.interop/tensorboard/bin/python", "peer/events.py", at("adapters/"+tensorboard.Folder))
	if err := json.Unmarshal([]byte(command(t, cmd)), &got); err != nil {
		t.Fatal(err)
	}
	records, err := run.ReadLog(at("adapters/" + run.LogName))
	if err != nil {
		t.Fatal(err)
	}
	var train, valid [][2]float64
	for _, r := range records {
		switch e := r.Event.(type) {
		case run.TrainReport:
			train = append(train, [2]float64{float64(e.Iteration), e.TrainLoss})
		case run.Validation:
			valid = append(valid, [2]float64{float64(e.Iteration), e.Loss})
		}
	}
	for tag, want := range map[string][][2]float64{"train/loss": train, "valid/loss": valid} {
		if len(got.Scalars[tag]) != len(want) || len(want) < 3 {
			t.Errorf("%s: %v, want %v", tag, got.Scalars[tag], want)
			continue
		}
		for i, p := range got.Scalars[tag] {
			const single = 1e-6 // of a float32
			if p[0] != want[i][0] || !(math.Abs(p[1]-want[i][1]) <= single*math.Abs(want[i][1])) {
				t.Errorf("%s: %v, want %v", tag, p, want[i])
			}
		}
	}
	if got.Plugins["run/text_summary"] != "text" && got.Plugins["run"] != "text" || len(got.Texts) == 0 {
		t.Errorf("texts: %v, plugins %v", got.Texts, got.Plugins)
	}
}
