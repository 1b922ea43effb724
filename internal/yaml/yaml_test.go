package yaml

import (
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/internal/spoil"
)

// dict makes a mapping of keys and values in turn.
func dict(members ...any) *jinja.Dict {
	d := jinja.NewDict()
	for i := 0; i < len(members); i += 2 {
		d.Set(members[i].(string), members[i+1])
	}
	return d
}

func TestValues(t *testing.T) {
	t.Parallel()
	x := dict("k", int64(1), "l", int64(2))
	for _, c := range []struct {
		text string
		want jinja.Value
	}{
		{"1e-5", 1e-5}, {"1_0.5e3", 10500.}, {".inf", math.Inf(1)}, {"20.0", 20.}, {"7", int64(7)}, {"-7", int64(-7)}, {"0x10", int64(16)},
		{"9223372036854775807", int64(1<<63 - 1)}, {"9223372036854775808", new(big.Int).Lsh(big.NewInt(1), 63)},
		{"yes", true}, {"Off", false}, {"true", true}, {"'no'", "no"}, {`"1e-5"`, "1e-5"}, {"~", nil}, {"", nil}, {"org/name", "org/name"},
		{"|\n  text", "text"}, {"[]", jinja.NewList()}, {"[1, [a]]", jinja.NewList(int64(1), jinja.NewList("a"))},
		{"&x {k: 1, l: 2}\nb: *x", x}, {"{z: 1, a: 2}", dict("z", int64(1), "a", int64(2))},
	} {
		entries, err := Parse([]byte("a: " + c.text))
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		if !reflect.DeepEqual(entries[0], Entry{"a", c.want, 1}) {
			t.Errorf("%q: %#v, want %#v", c.text, entries[0], c.want)
		}
	}
}

func TestAliases(t *testing.T) {
	t.Parallel()
	entries, err := Parse([]byte("a: &x {k: 1, l: 2}\nb: *x\nc: {<<: *x, k: 3}\nd: |\n  text\ne: 'no'\nf: .inf\n"))
	if err != nil {
		t.Fatal(err)
	}
	x := dict("k", int64(1), "l", int64(2))
	for i, want := range []any{x, x, dict("k", int64(3), "l", int64(2)), "text\n", "no"} {
		if !reflect.DeepEqual(entries[i].Value, want) {
			t.Errorf("%s: %v, want %v", entries[i].Key, entries[i].Value, want)
		}
	}
}

// TestBounds: a small text that stands for much is refused.
func TestBounds(t *testing.T) {
	t.Parallel()
	bomb := "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n"
	nest := "a0: &a0 [1]\n"
	for i := 1; i < 9; i++ {
		name, ref := string(rune('0'+i)), "*a"+string(rune('0'+i-1))
		bomb += "a" + name + ": &a" + name + " [" + strings.TrimSuffix(strings.Repeat(ref+",", 10), ",") + "]\n"
		nest += "a" + name + ": &a" + name + " " + strings.Repeat("[", 15) + ref + strings.Repeat("]", 15) + "\n"
	}
	for text, want := range map[string]string{
		bomb: "too many values", nest: "nested more than 100 levels",
		"a: " + strings.Repeat("[", 200) + strings.Repeat("]", 200): "1: nested more than 100 levels",
		"a: " + strings.Repeat("x", MaxBytes):                       "too large",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: %v, want %q", text, err, want)
		}
	}
}

// TestDeep: what is nested deeper than any file is refused before the parser takes memory by the square of it.
func TestDeep(t *testing.T) {
	const n = 60_000
	spoil.Peak(t, 200, func(t *testing.T) {
		for _, text := range []string{
			"a: " + strings.Repeat("[", n) + strings.Repeat("]", n), "a: " + strings.Repeat("[", n),
			"a: " + strings.Repeat("{a: ", n), "a:\n  " + strings.Repeat("- ", n) + "x", "a: [" + strings.Repeat("1,", n) + "1]",
			strings.Repeat("? ", n) + "x", "a: " + strings.Repeat("&a ", n) + "1", "a: " + strings.Repeat("a: ", n),
		} {
			if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), "nested more than 100 levels") && !strings.Contains(err.Error(), "too many words") {
				t.Errorf("%.20q: %v", text, err)
			}
		}
	})
}

func FuzzYAML(f *testing.F) {
	for _, seed := range []string{"a: 1e-5\nb: [1, {c: ~}]\n", "x: &a {k: 1}\ny: {<<: *a}\n", "- a", "a: |\n  b\n", "a: !!int 3", "? a\n: b"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) { check(t, text) })
}

// check reads a text that may be anything: what comes is a value that JSON can hold.
func check(t *testing.T, text []byte) {
	entries, err := Parse(text)
	if err != nil {
		return
	}
	for _, e := range entries {
		if _, err := jinja.DumpJSON(e.Value, 4); err != nil {
			t.Errorf("%q: %s: %v", text, e.Key, err)
		}
	}
}

// TestSpoiled cuts and changes a configuration file of training.
func TestSpoiled(t *testing.T) {
	const valid = `model: "mlx_model"
train: true
data: data/
seed: 0
num_layers: 16
learning_rate: 1e-5
lora_parameters: &lora
  keys: ["self_attn.q_proj", "self_attn.v_proj"]
  rank: 8
  scale: 20.0
  dropout: 0.0
lr_schedule: {name: cosine_decay, warmup: 100, arguments: [1e-5, 1000, 1e-7]}
hf_dataset:
  - path: "a/b"
    prompt_feature: |
      several
      lines
`
	spoil.Each(t, []byte(valid), spoil.Limit{Places: 120, Bytes: 16 << 20}, func(t *testing.T, spoiled []byte) { check(t, spoiled) })
}
