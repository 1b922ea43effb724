package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
)

func flag(s Setting) string { return "--" + strings.ReplaceAll(string(s), "_", "-") }

func TestText(t *testing.T) {
	cause := fs.ErrNotExist
	tests := []struct {
		name        string
		err         error
		plain, flag string
	}{
		{"value", Value("batch_size", 0, "1 or more"), "batch_size 0: expected 1 or more", "--batch-size 0: expected 1 or more"},
		{"empty value", Value("fine_tune_type", "", "lora or full"), `fine_tune_type "": expected lora or full`, `--fine-tune-type "": expected lora or full`},
		{"about a setting", At("model", "%s: %w", "x", cause), "model: x: file does not exist", "--model: x: file does not exist"},
		{
			"others in message and remedy", At("max_kv_size", "cannot go with %v", Setting("kv_bits")).Try("Leave %v out.", Setting("kv_bits")),
			"max_kv_size: cannot go with kv_bits\nLeave kv_bits out.", "--max-kv-size: cannot go with --kv-bits\nLeave --kv-bits out.",
		},
		{"about a value", Given("model", "my model", "there is no %s", "folder"), `model "my model": there is no folder`, `--model "my model": there is no folder`},
		{"missing", Missing("save_path").Try("Give %v.", Setting("save_path")), "save_path is missing\nGive save_path.", "--save-path is missing\nGive --save-path."},
		{"no setting", Of("a.jsonl:3: no text").Try("Add one."), "a.jsonl:3: no text\nAdd one.", "a.jsonl:3: no text\nAdd one."},
		{"marked", Mark(cause), "file does not exist", "file does not exist"},
		{
			"wrapped", fmt.Errorf("draft: %w", Value("max_kv_size", 2, "more than 4")),
			"draft: max_kv_size 2: expected more than 4", "draft: --max-kv-size 2: expected more than 4",
		},
		{
			"mistake as a cause", At("draft_model", "%w", Value("max_kv_size", 2, "more than 4")),
			"draft_model: max_kv_size 2: expected more than 4", "--draft-model: --max-kv-size 2: expected more than 4",
		},
		{
			"a user's text is no format", Of("%s: %q is no key", "100%.json", "{batch_size}"),
			`100%.json: "{batch_size}" is no key`, `100%.json: "{batch_size}" is no key`,
		},
		{
			"several", errors.Join(Value("iters", 0, "1 or more"), fmt.Errorf("x: %w", Value("batch_size", 0, "1 or more"))),
			"iters 0: expected 1 or more\nx: batch_size 0: expected 1 or more", "--iters 0: expected 1 or more\nx: --batch-size 0: expected 1 or more",
		},
		{
			"advice", fmt.Errorf("iteration 2: %w", Advise(cause, "Use a smaller %v.", Setting("learning_rate"))),
			"iteration 2: file does not exist\nUse a smaller learning_rate.", "iteration 2: file does not exist\nUse a smaller --learning-rate.",
		},
		{
			"advice on a mistake", Advise(Value("iters", 0, "1 or more"), "%v", Say("Leave %v out.", Setting("iters"))),
			"iters 0: expected 1 or more\nLeave iters out.", "--iters 0: expected 1 or more\nLeave --iters out.",
		},
		{"empty cause", fmt.Errorf("a%w", errors.New("")), "a", "a"},
		{"no mistake", cause, "file does not exist", "file does not exist"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.err.Error(); got != tt.plain {
				t.Errorf("Error() = %q, want %q", got, tt.plain)
			}
			if got := Text(tt.err, flag); got != tt.flag {
				t.Errorf("Text = %q, want %q", got, tt.flag)
			}
		})
	}
}

func TestCause(t *testing.T) {
	for _, err := range []error{At("model", "%w", fs.ErrNotExist), Of("x: %w", fs.ErrNotExist), Mark(fs.ErrNotExist)} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v lost its cause", err)
		}
	}
	if Mark(nil) != nil {
		t.Error("Mark(nil) is an error")
	}
	if got := Mark(fmt.Errorf("x: %w", fs.ErrInvalid), fs.ErrExist, fs.ErrInvalid); errors.As(got, new(*Mistake)) {
		t.Errorf("%v is a mistake, though its kind was excepted", got)
	}
	if got := Mark(fs.ErrClosed, fs.ErrExist); !errors.As(got, new(*Mistake)) {
		t.Errorf("%v is no mistake, though another kind was excepted", got)
	}
	m := Value("iters", 0, "1 or more")
	wrapped := fmt.Errorf("train: %w", m)
	if got := Mark(wrapped); got != wrapped {
		t.Errorf("an error with a mistake in it was marked again: %v", got)
	}
}

// TestKind checks that advice does not make a mistake of an error, nor hide one.
func TestKind(t *testing.T) {
	var m *Mistake
	if err := Advise(fs.ErrClosed, "Try again."); errors.As(err, &m) || !errors.Is(err, fs.ErrClosed) {
		t.Errorf("%v: a mistake, or its cause is lost", err)
	}
	if err := Advise(Value("iters", 0, "1 or more"), "Try again."); !errors.As(err, &m) || m.Setting != "iters" {
		t.Errorf("%v lost the mistake", err)
	}
	outer := fmt.Errorf("draft: %w", At("draft_model", "%w", Value("max_kv_size", 2, "more than 4")))
	if got := SettingOf(outer); got != "draft_model" {
		t.Errorf("SettingOf(%v) = %q", outer, got)
	}
	if got := SettingOf(fs.ErrClosed); got != "" {
		t.Errorf("SettingOf(%v) = %q", fs.ErrClosed, got)
	}
}

func TestNote(t *testing.T) {
	n := Say("%s is 100%% wrong: %v", "a%d", Setting("batch_size"))
	if got, want := n.String(), "a%d is 100% wrong: batch_size"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
	if got, want := n.Spell(flag), "a%d is 100% wrong: --batch-size"; got != want {
		t.Errorf("Spell = %q, want %q", got, want)
	}
	data, err := json.Marshal(struct{ Notes []Note }{[]Note{n}})
	if want := `{"Notes":["a%d is 100% wrong: batch_size"]}`; err != nil || string(data) != want {
		t.Fatalf("%s %v, want %s", data, err, want)
	}
	var back struct{ Notes []Note }
	if err := json.Unmarshal(data, &back); err != nil || len(back.Notes) != 1 || back.Notes[0].String() != n.String() {
		t.Errorf("read back as %v %v", back, err)
	}
	if (Note{}).String() != "" {
		t.Error("the empty note says something")
	}
}
