package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/tokenizer"
)

var draftedLine = regexp.MustCompile(`(?m)^Drafted: (\d+) tokens, (\d+) accepted\n$`)

// TestDraftModel: the answer with a draft is the answer without one, and the line
// behind the figures tells how good the draft was.
func TestDraftModel(t *testing.T) {
	t.Parallel()
	model, _ := tinyModel(t)
	coarse := filepath.Join(t.TempDir(), "coarse")
	mustRun(t, "", "convert", "--model", model, "--mlx-path", coarse, "-q", "--q-bits", "2", "--q-group-size", "32")
	ask := []string{"generate", "--model", model, "--prompt", "Which pulse has the most protein?", "--max-tokens", "40", "--threads", "1"}
	for _, how := range [][]string{{"--temp", "0"}, {"--exact"}, {"--temp", "0.7", "--seed", "5", "--exact"}, {"--stop", "e"}} {
		answer := func(more ...string) (text, all string) {
			all = mustRun(t, "", slices.Concat(ask, how, more)...)
			text, _, _ = strings.Cut(strings.TrimPrefix(all, "==========\n"), "==========\n")
			return text, all
		}
		want, plain := answer()
		if strings.Contains(plain, "Drafted") {
			t.Errorf("%v: without a draft:\n%s", how, plain)
		}
		for draft, perfect := range map[string]bool{model: true, coarse: false} {
			text, all := answer("--draft-model", draft)
			if text != want {
				t.Errorf("%v, draft %s: %q, without it %q", how, draft, text, want)
			}
			found := draftedLine.FindStringSubmatch(all)
			if found == nil {
				t.Errorf("%v: no line on the draft in\n%s", how, all)
				continue
			}
			drafted, _ := strconv.Atoi(found[1])
			accepted, _ := strconv.Atoi(found[2])
			if how[0] != "--stop" && perfect != (drafted == accepted) || drafted == 0 {
				t.Errorf("%v, draft %s: %s", how, draft, found[0])
			}
		}
	}
	if out := mustRun(t, "", append(ask, "--draft-model", coarse, "--verbose", "False")...); strings.Contains(out, "Drafted") {
		t.Errorf("not verbose: %q", out)
	}
	talk := func(more ...string) string {
		out := mustRun(t, "Which pulse?\nAnd which next?\n", append([]string{"chat", "--model", model, "--max-tokens", "12", "--threads", "1"}, more...)...)
		return regexp.MustCompile(`(?m)^\d+ tokens · .*$`).ReplaceAllString(out, "figures")
	}
	if got, want := talk("--draft-model", coarse), talk(); got != want || strings.Count(got, "figures") != 2 {
		t.Errorf("chat with a draft: %q, without %q", got, want)
	}
}

func TestDraftModelMistakes(t *testing.T) {
	t.Parallel()
	model, _ := tinyModel(t)
	other, _ := tinyModel(t)
	tok, err := tokenizer.Train(slices.Values([]string{"Chickpeas are the most eaten of all pulses, says who eats them."}), tokenizer.TrainOptions{VocabSize: 270, SpecialTokens: []string{"</s>"}, EOS: "</s>"})
	if err != nil {
		t.Fatal(err)
	}
	if err := tok.Save(other); err != nil {
		t.Fatal(err)
	}
	broken, _ := tinyModel(t)
	if err := os.Remove(filepath.Join(broken, "model.safetensors")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--draft-model", "./nowhere"}, "--draft-model ./nowhere: there is no such folder"},
		{[]string{"--draft-model", broken}, "--draft-model: " + broken},
		{[]string{"--draft-model", other}, "its tokens are not those of the model: token 0 is \"<|im_start|>\" for the model and \"</s>\" for the draft\nGive a smaller model of the same family."},
		{[]string{"--draft-model", model, "--num-draft-tokens", "0"}, "--num-draft-tokens 0: expected 1 to 32"},
		{[]string{"--draft-model", model, "--max-kv-size", "50"}, "--draft-model: cannot go with --max-kv-size"},
	} {
		for _, command := range []string{"generate", "chat"} {
			if code, _, errOut := lentil(t, "", append([]string{command, "--model", model, "--threads", "1"}, tt.args...)...); code != ExitUsage || !strings.Contains(errOut, tt.want) {
				t.Errorf("%s %v: %d %q, want %q", command, tt.args, code, errOut, tt.want)
			}
		}
	}
}
