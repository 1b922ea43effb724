package adapter_test

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
)

// TestSave: a model with a folder that Save wrote says the same, bit for bit, whatever was
// trained; and a second Save takes the place of the first.
func TestSave(t *testing.T) {
	t.Parallel()
	tokens := model.Sequence(modeltest.Sequence(9), 0)
	kinds := map[string]func(m *model.Model) error{
		"lora": func(m *model.Model) error {
			_, err := adapter.New(m, adapter.Config{Rank: 3, Scale: 4, NumLayers: 1}, compute.NewKey(0))
			return err
		},
		"dora": func(m *model.Model) error {
			_, err := adapter.New(m, adapter.Config{Rank: 3, Scale: 4, Keys: []string{"self_attn.q_proj"}, DoRA: true}, compute.NewKey(0))
			return err
		},
		"full": func(m *model.Model) error { return m.Unfreeze(1, true) },
	}
	for kind, prepare := range kinds {
		for _, spec := range modeltest.Architectures() {
			t.Run(kind+"/"+spec.Type, func(t *testing.T) {
				t.Parallel()
				dev := newCPU(t)
				trained := modeltest.Load(t, dev, spec)
				if err := prepare(trained); err != nil {
					t.Fatal(err)
				}
				dir := filepath.Join(t.TempDir(), "new", "adapters")
				for range 2 {
					modeltest.Shake(t, trained, 0.2)
					if err := adapter.Save(trained, dir); err != nil {
						t.Fatal(err)
					}
				}
				m := modeltest.Load(t, dev, spec)
				if err := adapter.Load(m, dir); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(modeltest.Logits(t, m, tokens), modeltest.Logits(t, trained, tokens)) {
					t.Error("the logits are others")
				}
			})
		}
	}
}

// TestSaveRanks: an adapter whose projections have ranks and scales of their own is saved
// with one of each.
func TestSaveRanks(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	const h = modeltest.Hidden
	path := peftFile(t, peftConfig, map[string][]int{
		"model.layers.0.self_attn.q_proj.lora_A.weight": {1, h}, "model.layers.0.self_attn.q_proj.lora_B.weight": {h, 1},
		"model.layers.1.self_attn.q_proj.lora_A.weight": {5, h}, "model.layers.1.self_attn.q_proj.lora_B.weight": {h, 5},
	})
	spec := modeltest.Spec{Type: "llama"}
	tokens := model.Sequence(modeltest.Sequence(9), 0)
	first, second := modeltest.Load(t, dev, spec), modeltest.Load(t, dev, spec)
	if err := adapter.Load(first, filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := adapter.Save(first, dir); err != nil {
		t.Fatal(err)
	}
	if err := adapter.Load(second, dir); err != nil {
		t.Fatal(err)
	}
	modeltest.Alike(t, "saved", modeltest.Logits(t, second, tokens), modeltest.Logits(t, first, tokens), sameTolerance)
	a, err := adapter.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if rank, scale := a.Common(); rank != 5 || scale != 1 || a.Base != first.Source().Path() {
		t.Errorf("rank %d, scale %v, base %q", rank, scale, a.Base)
	}
}

// TestSaveErrors: what is no adapter is not saved, and what is there stays.
func TestSaveErrors(t *testing.T) {
	t.Parallel()
	dev := newCPU(t)
	dir := t.TempDir()
	t.Run("nothing trained", func(t *testing.T) {
		if err := adapter.Save(modeltest.Load(t, dev, modeltest.Spec{Type: "llama"}), dir); err == nil || !strings.Contains(err.Error(), "nothing of it is trained") {
			t.Errorf("error %v", err)
		}
	})
	full := modeltest.Load(t, dev, modeltest.Spec{Type: "llama"})
	if err := full.Unfreeze(1, false); err != nil {
		t.Fatal(err)
	}
	for kind, m := range map[string]*model.Model{"lora": adapted(t, dev, modeltest.Spec{Type: "llama"}), "full": full} {
		t.Run("diverged/"+kind, func(t *testing.T) {
			if err := adapter.Save(m, dir); err != nil {
				t.Fatal(err)
			}
			good, err := os.ReadFile(filepath.Join(dir, adapter.File))
			if err != nil {
				t.Fatal(err)
			}
			modeltest.Shake(t, m, float32(math.NaN()))
			err = adapter.Save(m, dir)
			if err == nil || !strings.Contains(err.Error(), "training has diverged") || !strings.Contains(fault.Text(err, func(s fault.Setting) string { return "<" + string(s) + ">" }), "<learning_rate>") {
				t.Errorf("error %v", err)
			}
			if now, _ := os.ReadFile(filepath.Join(dir, adapter.File)); !slices.Equal(now, good) {
				t.Error("the good file is gone")
			}
		})
	}
}
