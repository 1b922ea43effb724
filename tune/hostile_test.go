package tune

import (
	"errors"
	"os"
	"testing"

	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/spoil"
	"github.com/lentil-lm/lentil/internal/yaml"
)

const validConfig = `model: org/base
train: true
data: data/
seed: 1e3
num_layers: 16
learning_rate: 1e-5
fine_tune_type: dora
lora_parameters: &lora
  keys: ["self_attn.q_proj", "self_attn.v_proj"]
  rank: 8
  scale: 20.0
  dropout: 0.0
optimizer_config: {adam: {betas: [0.9, 0.99], eps: 1e-7}, sgd: ~}
lr_schedule: {name: cosine_decay, warmup: 100, arguments: [1e-5, 1000, 1e-7]}
hf_dataset:
  - path: "a/b"
    config: {name: x, data_files: [{split: train, path: "*.csv"}, {split: test, path: [a, b]}]}
    train_split: train[:90%]
    prompt_feature: question
  - {name: c/d, config: {data_dir: e, data_files: "*.jsonl"}, valid_split: ~}
text_feature: ~
of_mine: [1, {a: ~}]
`

// fromConfig fills a recipe with what a text says; false where it says nothing that a recipe could hold.
func fromConfig(t *testing.T, text []byte) (r Recipe, ok bool) {
	t.Helper()
	r = New()
	entries, err := yaml.Parse(text)
	if err != nil {
		return r, false
	}
	for _, e := range entries {
		if err := r.Set(e.Key, e.Value); err != nil {
			if !errors.As(err, new(*fault.Mistake)) {
				t.Errorf("%q: %v is no mistake of the user's", text, err)
			}
			return r, false
		}
	}
	if err := r.Check(); err != nil && !errors.As(err, new(*fault.Mistake)) {
		t.Errorf("%q: %v is no mistake of the user's", text, err)
	}
	return r, true
}

// checkConfig: a config is refused, or becomes an adapter_config.json that says the same
// when it is read in its place.
func checkConfig(t *testing.T, text []byte) {
	t.Helper()
	r, ok := fromConfig(t, text)
	if !ok {
		return
	}
	written := configText(t, r)
	value, err := jinja.ParseJSON([]byte(written))
	if err != nil {
		return // a number that is none, which Python writes as no JSON has it
	}
	again := New()
	d := value.(*jinja.Dict)
	for _, name := range d.Keys() {
		member, _ := d.Get(name)
		if err := again.Set(name, member); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
	}
	if second := configText(t, again); second != written {
		t.Errorf("%q: read back\n%s\nwritten\n%s", text, second, written)
	}
}

func TestConfigReadsBack(t *testing.T) {
	t.Parallel()
	if _, ok := fromConfig(t, []byte(validConfig)); !ok {
		t.Fatal("the valid config is refused")
	}
	checkConfig(t, []byte(validConfig))
	lora, err := os.ReadFile("../demo/lora.yaml")
	if err != nil {
		t.Fatal(err)
	}
	checkConfig(t, lora)
}

func TestSpoiledConfig(t *testing.T) {
	spoil.Each(t, []byte(validConfig), spoil.Limit{Places: 150, Bytes: 16 << 20}, checkConfig)
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(validConfig))
	f.Add([]byte("lora_parameters: {rank: 1e300, scale: .nan, dropout: -.inf}\nhf_dataset: {path: x, train_split: 'a[1:2]+b'}\n"))
	f.Add([]byte("optimizer: adafactor\noptimizer_config: {adafactor: {eps: [1e-30, 1e-3]}}\nlr_schedule: {}\n"))
	f.Fuzz(checkConfig)
}
