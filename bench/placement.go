package bench

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/all"
	"github.com/lentil-lm/lentil/compute/fallback"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/weights"
)

// A Placement tells where an op ran, and how often.
type Placement struct {
	Op     string `json:"op"`
	Device int64  `json:"device"`
	Host   int64  `json:"host"` // by its definition, because the device lacks it
}

// samples are small models, dense and with experts, that use the ops of large ones.
var samples = []Shape{
	{"dense", map[string]any{
		"model_type": "llama", "hidden_size": 128, "num_hidden_layers": 2, "intermediate_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2,
		"rms_norm_eps": 1e-5, "vocab_size": 512, "rope_theta": 1e4, "max_position_embeddings": 512, "tie_word_embeddings": true,
	}},
	{"experts", map[string]any{
		"model_type": "qwen3_moe", "hidden_size": 128, "num_hidden_layers": 2, "intermediate_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2,
		"head_dim": 64, "rms_norm_eps": 1e-6, "vocab_size": 512, "rope_theta": 1e4, "max_position_embeddings": 512, "tie_word_embeddings": false,
		"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64, "norm_topk_prob": true, "decoder_sparse_step": 1, "mlp_only_layers": []int{},
	}},
}

// Placements lets a device train and answer with tiny 4-bit models, and tells where each op
// ran, those of the host first.
func Placements(ctx context.Context, o engine.Options) ([]Placement, error) {
	counts := map[string]fallback.Count{}
	for _, s := range samples {
		dev, err := all.Open(o.Device, all.Options{Threads: o.Threads})
		if err != nil {
			return nil, err
		}
		if err := s.place(ctx, dev, counts); err != nil {
			return nil, err
		}
	}
	return sorted(counts), nil
}

func sorted(counts map[string]fallback.Count) []Placement {
	var list []Placement
	for op, c := range counts {
		list = append(list, Placement{op, c.Device, c.Host})
	}
	slices.SortFunc(list, func(a, b Placement) int { return cmp.Or(cmp.Compare(b.Host, a.Host), cmp.Compare(a.Op, b.Op)) })
	return list
}

// place adds to the counts what one model needs on a device, which it closes.
func (s Shape) place(ctx context.Context, dev compute.Device, counts map[string]fallback.Count) error {
	b, err := s.load(dev)
	if err != nil {
		return err
	}
	defer b.Close()
	b.dev.counting = true
	for _, w := range []Work{Answers{Prompt: 20, Generate: 3, Batch: 1, PrefillStep: 16}, Training{Rows: []int{20, 9}, NumLayers: -1}} {
		do, err := w.begin(b)
		if err != nil {
			return err
		}
		err = do(ctx, 1, func(phases []Phase, _ Trial) error {
			add(counts, dev, phases)
			return nil
		})
		if err != nil {
			return fmt.Errorf("a tiny model (%s) on %s: %w", s.name, dev.Info().Name, err)
		}
	}
	if dev, ok := dev.(*fallback.Device); ok {
		for op, c := range dev.Counts() {
			counts[op] = fallback.Count{Device: counts[op].Device + c.Device, Host: counts[op].Host + c.Host}
		}
	}
	return nil
}

// load makes a model of the shape with random weights of 4 bits on a device, which is closed
// with it, or on an error.
func (s Shape) load(dev compute.Device) (*Bench, error) {
	dir, err := os.MkdirTemp("", "lentil-doctor-*")
	if err != nil {
		dev.Close()
		return nil, err
	}
	defer os.RemoveAll(dir) // most systems keep what is mapped
	if err := s.Write(dir, 4, 64); err != nil {
		dev.Close()
		return nil, err
	}
	src, err := weights.Open(dir)
	if err != nil {
		dev.Close()
		return nil, err
	}
	return newBench(dev, src)
}

// add counts the ops of a device that has them all.
func add(counts map[string]fallback.Count, dev compute.Device, phases []Phase) {
	if _, ok := dev.(*fallback.Device); ok {
		return // which knows better
	}
	for _, p := range phases {
		for _, op := range p.Ops {
			counts[op.Name] = fallback.Count{Device: counts[op.Name].Device + int64(op.Calls)}
		}
	}
}
