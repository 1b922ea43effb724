package profile

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// A labelled is a sentence with the rules that it breaks.
type labelled struct {
	line  int
	text  string
	rules []Rule
}

func readLabelled(t *testing.T, path string) (out []labelled) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n, line := range strings.Split(string(data), "\n") {
		if line == "" || strings.HasPrefix(line, "#") && !strings.Contains(line, "\t") {
			continue
		}
		names, text, ok := strings.Cut(line, "\t")
		if !ok {
			t.Fatalf("%s:%d: no tab", path, n+1)
		}
		l := labelled{line: n + 1, text: strings.ReplaceAll(text, `\n`, "\n")}
		for _, name := range strings.Split(names, ",") {
			if _, known := ruleBits[Rule(name)]; known {
				l.rules = append(l.rules, Rule(name))
			} else if name != "-" {
				t.Fatalf("%s:%d: %s is no rule", path, n+1, name)
			}
		}
		out = append(out, l)
	}
	return out
}

// everything avoids all allergens and keeps all diets.
func everything() *Profile {
	p := &Profile{ID: "all"}
	for _, r := range Allergens {
		p.Avoid = append(p.Avoid, string(r))
	}
	for _, r := range Diets {
		p.Diet = append(p.Diet, string(r))
	}
	return p
}

// tally counts what was found and what was not.
type tally struct{ right, missed, wrong int }

func (c tally) recall() float64    { return float64(c.right) / float64(max(1, c.right+c.missed)) }
func (c tally) precision() float64 { return float64(c.right) / float64(max(1, c.right+c.wrong)) }
func (c tally) String() string {
	return fmt.Sprintf("recall %.3f (%d of %d), precision %.3f (%d of %d)", c.recall(), c.right, c.right+c.missed, c.precision(), c.right, c.right+c.wrong)
}

// count compares the rules of sentences with what the scanner says. Mistakes go to complain.
func count(all []labelled, among []Rule, complain func(string, ...any)) (c tally) {
	p := everything()
	for _, l := range all {
		found := map[Rule]string{}
		for _, h := range p.Scan(l.text) {
			found[h.Rule] = h.Text
		}
		for _, r := range among {
			text, hit := found[r]
			switch want := slices.Contains(l.rules, r); {
			case want && hit:
				c.right++
			case want:
				c.missed++
				complain("line %d: missed %s: %s", l.line, r, l.text)
			case hit:
				c.wrong++
				complain("line %d: %q is not %s: %s", l.line, text, r, l.text)
			}
		}
	}
	return c
}

// TestLabelled measures the scanner on the sentences that it was made with.
func TestLabelled(t *testing.T) {
	all := readLabelled(t, "testdata/sentences.txt")
	if len(all) < 250 {
		t.Fatalf("%d sentences", len(all))
	}
	quiet := func(string, ...any) {}
	allergens, diets := count(all, Allergens, t.Logf), count(all, Diets, t.Logf)
	t.Logf("%d sentences; allergens: %v", len(all), allergens)
	t.Logf("diets: %v", diets)
	for _, r := range allRules {
		t.Logf("%-12s %v", r, count(all, []Rule{r}, quiet))
	}
	if allergens.recall() < 0.97 || allergens.precision() < 0.95 || diets.recall() < 0.9 || diets.precision() < 0.9 {
		t.Errorf("allergens %v, diets %v", allergens, diets)
	}
}

// TestAside measures it on the sentences that were set aside. They were looked at once, when the lexicon was done.
func TestAside(t *testing.T) {
	all := readLabelled(t, "testdata/aside.txt")
	allergens, diets := count(all, Allergens, t.Logf), count(all, Diets, t.Logf)
	t.Logf("%d sentences set aside; allergens: %v", len(all), allergens)
	t.Logf("diets: %v", diets)
	if len(all) < 100 || allergens.recall() < 0.97 || allergens.precision() < 0.9 || diets.recall() < 0.95 || diets.precision() < 0.9 {
		t.Errorf("%d sentences, allergens %v, diets %v", len(all), allergens, diets)
	}
}
