package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/profile"
)

func TestProfileCommand(t *testing.T) {
	t.Parallel()
	anna := writeFile(t, "anna.yaml", "diet: [vegetarian]\navoid: [gluten, kiwi]\n")
	bad := writeFile(t, "bad.yaml", "diet: [vegetarian]\nallergy: [nuts]\n")
	text := writeFile(t, "answer.txt", "Eat rice.\nThen have toast and a kiwi,\nbut avoid ham.\n")
	for _, tt := range []struct {
		args []string
		in   string
		code int
		want string
	}{
		{[]string{"check", anna}, "", ExitOK, "anna is a profile: gluten (allergy), kiwi (avoid), vegetarian\nLooked for by that name alone, not by its kinds or what is made of it: kiwi\n"},
		{[]string{"check"}, "", ExitUsage, "found 0 arguments, expected a profile, and maybe a text"},
		{[]string{"show", anna, anna}, "", ExitUsage, "found 2 arguments, expected one profile"},
		{[]string{"check", bad}, "", ExitUsage, `bad.yaml:2: there is no "allergy" in a profile`},
		{[]string{"check", anna, text}, "", ExitFailure, `answer.txt:2:11: "toast" breaks gluten (allergy)`},
		{[]string{"check", anna, text}, "", ExitFailure, `answer.txt:2:23: "kiwi" (avoid)`},
		{[]string{"check", anna, "-"}, "Rice. Bread. Have\nbread, toast.", ExitFailure, "-:1:7: \"Bread\" breaks gluten (allergy)\n-:2:1: \"bread\" breaks gluten (allergy)\n-:2:8: \"toast\""},
		{[]string{"check", anna, "-"}, "No bread, no ham.", ExitOK, "Nothing in it breaks anna, as far as the scanner can tell. " + profile.NoAdvice},
		{[]string{"check", anna, "no/file"}, "", ExitUsage, "no such file"},
		{[]string{"show", anna}, "", ExitOK, "Diet: vegetarian (no meat, no fish, no gelatine)."},
		{[]string{"foods", "Tahini"}, "", ExitOK, "tahini (tahina, tahin): sesame; food composition, general knowledge"},
		{[]string{"foods", "xyz"}, "", ExitUsage, `no food has "xyz" in its name`},
	} {
		code, out, err := lentil(t, tt.in, append([]string{"profile"}, tt.args...)...)
		if code != tt.code || !strings.Contains(out+err, tt.want) {
			t.Errorf("%v: exit code %d\n%s%s\nexpected %d and %s", tt.args, code, out, err, tt.code, tt.want)
		}
	}
}

// TestGenerateProfile: the model is told the profile, and the answer scanned.
func TestGenerateProfile(t *testing.T) {
	t.Parallel()
	model, _ := tinyModel(t)
	args := []string{"generate", "--model", model, "--threads", "1", "--max-tokens", "4", "--prompt", "What is good?"}
	plain := mustRun(t, "", args...)
	told := mustRun(t, "", append(args, "--profile", writeFile(t, "anna.yaml", "avoid: [gluten]\n"))...)
	if tokens := func(s string) string { _, after, _ := strings.Cut(s, "Prompt: "); return strings.Fields(after)[0] }; tokens(plain) == tokens(told) {
		t.Errorf("the prompt has %s tokens with and without the profile", tokens(plain))
	}
	for flag, want := range map[string]string{"--ignore-chat-template": "without a chat template", "--prompt-cache-file=x": "the prompt cache has the system prompt already"} {
		code, _, err := lentil(t, "", append(args, "--profile", writeFile(t, "anna.yaml", "avoid: [gluten]\n"), flag)...)
		if code != ExitUsage || !strings.Contains(err, "--profile: ") || !strings.Contains(err, want) {
			t.Errorf("%s: %d %s", flag, code, err)
		}
	}
	if code, _, err := lentil(t, "", append(args, "--profile", "no/file")...); code != ExitUsage || !strings.Contains(err, "no such file") {
		t.Errorf("%d %s", code, err)
	}
}

// TestChatProfile sets, shows and drops a profile in a chat; a saved conversation has it, and is loaded without it twice.
func TestChatProfile(t *testing.T) {
	t.Parallel()
	k, _, say := talking(t)
	anna := writeFile(t, "anna.yaml", "avoid: [gluten]\ndislikes: [coriander]\n")
	say("/profile", "There is no profile.")
	say("/profile "+anna, "answers are for anna: gluten (allergy), coriander (dislike)")
	say("/profile", "Allergies, never suggest")
	say("/system Be brief.", "")
	say("Which pulse?", "tok/s")
	with := k.last.PromptTokens
	held := contents(k)
	path := filepath.Join(t.TempDir(), "row.jsonl")
	say("/save "+path, "3 messages saved")
	if text, _ := os.ReadFile(path); !strings.Contains(string(text), "Be brief.\\n\\nYou answer a person with these rules") {
		t.Errorf("saved: %s", text)
	}
	say("/load "+path, "3 messages loaded")
	if got := contents(k); !slices.Equal(got, held) || k.setup.SystemPrompt != "Be brief." {
		t.Errorf("loaded %q, held %q", got, held)
	}
	say("/profile no/file", "no such file")
	say("/profile none", "no profile")
	say("/retry", "tok/s")
	if k.last.PromptTokens >= with {
		t.Errorf("the prompt has %d tokens without the profile, %d with it", k.last.PromptTokens, with)
	}
}

// TestEvalProfile asks base and tuned for meals, without any other questions.
func TestEvalProfile(t *testing.T) {
	t.Parallel()
	model, data := tinyModel(t)
	adapters := filepath.Join(t.TempDir(), "adapters")
	mustRun(t, "", "train", "--model", model, "--data", data, "--adapter-path", adapters, "--iters", "1", "--batch-size", "1", "--num-layers", "1", "--threads", "1")
	anna := writeFile(t, "anna.yaml", "avoid: [gluten]\n")
	args := []string{"eval", "--model", model, "--adapter-path", adapters, "--profile", anna, "--general", "none", "--max-tokens", "2", "--threads", "1"}
	out := mustRun(t, "", args...)
	for _, want := range []string{"40 questions: 40 profile", "Profile kept", "Answers against anna", "Allergens of anna", "tuned against base, answers against anna: "} {
		if !strings.Contains(out, want) {
			t.Errorf("the output has no %q:\n%s", want, out)
		}
	}
	for _, tt := range []struct {
		more []string
		want string
	}{
		{[]string{"--profile", anna}, "--profile " + anna + ": two profiles have the id anna"},
		{[]string{"--profile", "no/file"}, "no such file"},
		{[]string{"--require", "violations<-1"}, "violations is 0"},
	} {
		code, _, err := lentil(t, "", append(slices.Clone(args), tt.more...)...)
		if code == ExitOK || !strings.Contains(err, tt.want) {
			t.Errorf("%v: %d %s, expected %s", tt.more, code, err, tt.want)
		}
	}
}
