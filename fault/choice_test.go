package fault

import (
	"errors"
	"testing"
)

func TestChoice(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		value string
		known []string
		want  string
	}{
		{"lora", []string{"lora", "dora", "full"}, ""},
		{"", []string{"", "mlx"}, ""},
		{"lroa", []string{"lora", "dora", "full"}, "kind lroa: expected lora, dora or full\nDid you mean: kind lora"},
		{"nothing like it", []string{"", "mlx"}, `kind "nothing like it": expected "" or mlx`},
		{"x", []string{"auto"}, "kind x: expected auto"},
	} {
		err := Choice("kind", c.value, c.known...)
		if (err == nil) != (c.want == "") || err != nil && (err.Error() != c.want || !errors.As(err, new(*Mistake))) {
			t.Errorf("%q: %v, want %q", c.value, err, c.want)
		}
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"learning-rate", "iters", "model", "mask-prompt"}
	for word, want := range map[string]string{
		"lerning-rate": "learning-rate", "itres": "iters", "mdoel": "model", "maks_prompt": "mask-prompt", "zzz": "", "": "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}
