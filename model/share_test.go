package model_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lentil-lm/lentil/adapter"
	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/plan"
	"github.com/lentil-lm/lentil/model"
	"github.com/lentil-lm/lentil/model/modeltest"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/weights"
)

// counting counts the bytes that are asked of a device, whether or not they were free again.
type counting struct {
	compute.Device
	mu              sync.Mutex
	alloc, imported int64
}

func (c *counting) Alloc(s compute.Shape, t compute.DType) (compute.Buffer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alloc += compute.Spec{Shape: s, DType: t}.Bytes()
	return c.Device.Alloc(s, t)
}

func (c *counting) ImportWeight(m *quant.Matrix) (compute.Buffer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.imported += int64(len(m.Data) + len(m.Scales) + len(m.Biases))
	return c.Device.ImportWeight(m)
}

var shareTokens = model.Sequence(modeltest.Sequence(9), 0)

// share is a second model of the weights of m.
func share(t *testing.T, m *model.Model) *model.Model {
	t.Helper()
	other, err := m.Share()
	if err != nil {
		t.Fatal(err)
	}
	return other
}

// same wants the logits of a model to be these, bit for bit.
func same(t *testing.T, what string, m *model.Model, want []float32) {
	t.Helper()
	if !slices.Equal(modeltest.Logits(t, m, shareTokens), want) {
		t.Errorf("%s: the logits are others", what)
	}
}

func TestShare(t *testing.T) {
	t.Parallel()
	for _, spec := range modeltest.Architectures() {
		for _, bits := range []int{0, 4} {
			spec.Bits = bits
			t.Run(spec.Type, func(t *testing.T) {
				t.Parallel()
				dev := newCPU(t)
				count := &counting{Device: dev}
				base := modeltest.Load(t, count, spec)
				want := modeltest.Logits(t, base, shareTokens)
				count.alloc, count.imported = 0, 0
				other := share(t, base)
				if count.alloc != 0 || count.imported != 0 {
					t.Errorf("sharing took %d bytes and imported %d, expected none", count.alloc, count.imported)
				}
				third := share(t, other)
				same(t, "shared", other, want)
				base.Free()
				same(t, "after its base was freed", other, want)
				other.Free()
				other.Free() // a second time does no harm to the third
				same(t, "after both were freed", third, want)
				third.Free()
				if used(dev) != 0 {
					t.Errorf("%d bytes are held after all models were freed", used(dev))
				}
			})
		}
	}
}

// TestShareIsPlanned: a shared model weighs nothing, and the weights go with the last.
func TestShareIsPlanned(t *testing.T) {
	t.Parallel()
	for _, spec := range modeltest.Architectures() {
		dev := plan.New(plan.Options{})
		base := modeltest.Load(t, dev, spec)
		before := dev.Report()
		other := share(t, base)
		if now := dev.Report(); now.CurrentBytes != before.CurrentBytes || now.WeightBytes != before.WeightBytes {
			t.Errorf("%s: %d and %d bytes with two models, %d and %d with one", spec.Type, now.CurrentBytes, now.WeightBytes, before.CurrentBytes, before.WeightBytes)
		}
		base.Free()
		if now := dev.Report(); now.WeightBytes != before.WeightBytes || now.CurrentBytes != before.CurrentBytes {
			t.Errorf("%s: %d and %d bytes are left for the second model, expected %d and %d", spec.Type, now.CurrentBytes, now.WeightBytes, before.CurrentBytes, before.WeightBytes)
		}
		modeltest.Logits(t, other, shareTokens) // the device refuses buffers that were freed
		other.Free()
		if now := dev.Report(); now.CurrentBytes != 0 || now.WeightBytes != 0 {
			t.Errorf("%s: %d and %d bytes are held after both models were freed", spec.Type, now.CurrentBytes, now.WeightBytes)
		}
	}
}

// changes are what may become of a base.
var changes = map[string]func(m *model.Model) error{
	"trained": func(m *model.Model) error { return m.Unfreeze(-1, true) },
	"an adapter": func(m *model.Model) error {
		_, err := adapter.New(m, adapter.Config{Rank: 2, Scale: 2}, compute.NewKey(0))
		return err
	},
	"replaced": func(m *model.Model) error {
		for _, name := range []string{"model.norm.weight", "model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight"} {
			shape, _ := m.ShapeOf(name)
			values := make([]float32, compute.Shape(shape).Elems())
			for i := range values {
				values[i] = float32(i%7) - 2
			}
			if err := m.Replace(weights.FloatTensor(name, values, shape...)); err != nil {
				return err
			}
		}
		return nil
	},
}

// TestSharedWeightsStay: what one of two models changes of its base, the other does not
// see, whichever of them was loaded.
func TestSharedWeightsStay(t *testing.T) {
	t.Parallel()
	for what, change := range changes {
		for _, spec := range modeltest.Architectures() {
			t.Run(what+"/"+spec.Type, func(t *testing.T) {
				t.Parallel()
				dev := newCPU(t)
				base := modeltest.Load(t, dev, spec)
				sharedStays(t, base, share(t, base), change)
				base = modeltest.Load(t, dev, spec)
				sharedStays(t, share(t, base), base, change)
				if used(dev) != 0 {
					t.Errorf("%d bytes are held after all models were freed", used(dev))
				}
			})
		}
	}
}

func sharedStays(t *testing.T, changed, stays *model.Model, change func(m *model.Model) error) {
	t.Helper()
	want := modeltest.Logits(t, stays, shareTokens)
	if err := change(changed); err != nil {
		t.Fatal(err)
	}
	modeltest.Shake(t, changed, 0.1)
	same(t, "the other", stays, want)
	now := modeltest.Logits(t, changed, shareTokens)
	if slices.Equal(now, want) {
		t.Error("the change has no effect")
	}
	stays.Free()
	same(t, "the changed one alone", changed, now)
	changed.Free()
}

func TestShareTrained(t *testing.T) {
	t.Parallel()
	m := modeltest.Load(t, newCPU(t), modeltest.Spec{Type: "llama"})
	if err := m.Unfreeze(1, false); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Share(); err == nil || !strings.Contains(err.Error(), "is being trained") {
		t.Errorf("a model that is trained was shared: %v", err)
	}
}

// TestSharedAtOnce runs models of the same weights at the same time while others come
// and go and one is trained; the race detector watches (CGO_ENABLED=1 go test -race).
func TestSharedAtOnce(t *testing.T) {
	t.Parallel()
	base := modeltest.Load(t, newCPU(t), modeltest.Spec{Type: "qwen2"})
	want := modeltest.Logits(t, base, shareTokens)
	trained := share(t, base)
	if err := trained.Unfreeze(-1, true); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for range 5 {
				m, err := base.Share()
				if err != nil {
					t.Error(err)
					return
				}
				same(t, "shared", m, want)
				m.Free()
			}
		})
	}
	all.Go(func() {
		for range 3 {
			gradients(t, trained, false)
			modeltest.Shake(t, trained, 0.1)
		}
	})
	all.Go(func() {
		for range 5 {
			same(t, "the base", base, want)
		}
	})
	all.Wait()
}

type closed int

func (c *closed) Close() error { *c++; return nil }

// TestKeep: what weights lie in is closed once, with the last model that has them.
func TestKeep(t *testing.T) {
	t.Parallel()
	for _, first := range []int{0, 1, 2} { // which of the three models is freed first
		base := modeltest.Load(t, newCPU(t), modeltest.Spec{Type: "llama"})
		var file closed
		base.Keep(&file)
		models := []*model.Model{base, share(t, base)}
		models = append(models, share(t, models[1]))
		models[first].Free()
		models[(first+1)%3].Free()
		models[first].Free() // a second time changes nothing
		if file != 0 {
			t.Errorf("closed %d times while a model is left", file)
		}
		models[(first+2)%3].Free()
		if file != 1 {
			t.Errorf("closed %d times", file)
		}
	}
}
