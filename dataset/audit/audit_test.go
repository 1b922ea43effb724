package audit

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/dataset"
)

func chatRow(question, answer string) string {
	return fmt.Sprintf(`{"messages": [{"role": "user", "content": %q}, {"role": "assistant", "content": %q}]}`, question, answer)
}

func lookAt(t *testing.T, files map[string][]string, o dataset.Options) *Report {
	t.Helper()
	dir := t.TempDir()
	for name, lines := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	splits, err := dataset.Load(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Look(context.Background(), splits, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const long = "The mill stands at the river since the year of the great flood, and it grinds the grain of the whole valley for a toll that is paid in flour."

// TestLook: each kind is found where it is, and nowhere else.
func TestLook(t *testing.T) {
	clean := []string{chatRow("How much fibre do lentils have?", "They have 8 g of fibre."), chatRow("Why is rye dried?", "Because it turns sour when it is moist.")}
	tests := []struct {
		name  string
		files map[string][]string
		want  map[Kind]int
	}{
		{"clean", map[string][]string{"train.jsonl": clean, "test.jsonl": {chatRow("What is a quern?", "A hand mill.")}}, nil},
		{"empty", map[string][]string{"train.jsonl": append([]string{chatRow("Why?", " \n")}, clean...)}, map[Kind]int{Empty: 1}},
		{"the same", map[string][]string{"train.jsonl": append(clean, chatRow("how much fibre do Lentils have", "They have 8 g of fibre!"))}, map[Kind]int{Same: 1}},
		{"leak", map[string][]string{"train.jsonl": clean, "valid.jsonl": {chatRow("Why is rye dried?", "Because it turns sour when it is moist.")}}, map[Kind]int{Same: 1, Leak: 1}},
		{"contrary", map[string][]string{"train.jsonl": append(clean, chatRow("How much fibre do lentils have?", "It is 16 g."))}, map[Kind]int{Contrary: 1}},
		{"several answers", map[string][]string{"train.jsonl": append(clean, chatRow("Why is rye dried?", "So that mice leave it alone."))}, map[Kind]int{Several: 1}},
		{"nearly", map[string][]string{"train.jsonl": {chatRow("Where is the mill?", long), chatRow("Where is the mill?", long+" So")}}, map[Kind]int{Near: 1}},
		{"nearly in test", map[string][]string{"train.jsonl": {chatRow("Where is the mill?", long)}, "test.jsonl": {chatRow("Where is that mill?", long)}}, map[Kind]int{NearLeak: 1}},
		{"persons", map[string][]string{"train.jsonl": append(clean, chatRow("Who knows?", "Ask anna@example.org for the key of the mill."))}, map[Kind]int{Personal: 1}},
		{"language", map[string][]string{"train.jsonl": append(clean, clean[0], chatRow("Wie viel wiegt der Stein und das Rad?", "Der Stein ist schwer und das Rad auch."))}, map[Kind]int{OtherWords: 1, Same: 1}},
		{"texts", map[string][]string{"train.jsonl": {`{"text": "` + long + `"}`}, "test.jsonl": {`{"text": "` + long + `"}`}}, map[Kind]int{Leak: 1, Same: 1}},
	}
	for _, tt := range tests {
		r := lookAt(t, tt.files, dataset.Options{})
		for _, k := range Kinds {
			if r.Counts[k] != tt.want[k] {
				t.Errorf("%s: %d of %q, expected %d: %+v", tt.name, r.Counts[k], k, tt.want[k], r.Findings)
			}
		}
	}
	pair := `{"prompt": "Why?", "chosen": "So.", "rejected": "Not so."}`
	if r := lookAt(t, map[string][]string{"train.jsonl": {pair, pair}}, dataset.Options{Preference: true}); r.Counts[Same] != 1 || r.Wrong() != 0 {
		t.Errorf("pairs: %+v", r.Counts)
	}
}

func TestLanguage(t *testing.T) {
	for text, want := range map[string]string{
		"The bread is baked for an hour with the lid on.":          "English",
		"Das Brot wird eine Stunde mit dem Deckel gebacken.":       "German",
		"Le pain est cuit dans le four pour une heure.":            "French",
		"El pan se hornea por una hora con la tapa y los panes.":   "Spanish",
		"Il pane è cotto per un'ora nel forno con il coperchio.":   "Italian",
		"O pão não é assado com uma tampa, e isso é para os pais.": "Portuguese",
		"Het brood wordt een uur gebakken met het deksel.":         "Dutch",
		"パンを一時間焼きます。ふたをしてください。":                                    "Japanese",
		"面包要烤一个小时,盖上盖子。":                                           "Chinese",
		"Хлеб пекут один час под крышкой.":                         "Cyrillic",
		"Infants: how many kcal per day? 40 kcal per day.":         Unknown,
		"x = 3; y = 4": Unknown,
		"":             Unknown,
	} {
		if got := Language(text); got != want {
			t.Errorf("%q: %s, expected %s", text, got, want)
		}
	}
}
