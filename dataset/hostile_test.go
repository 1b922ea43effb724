package dataset

import (
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/internal/spoil"
)

// TestSpoiledRows cuts and changes a data file of each kind.
func TestSpoiledRows(t *testing.T) {
	tok := smallTokenizer(t, chatML)
	for _, content := range []string{
		`{"text": "Which pulse?"}` + "\n" + `{"text": "Lupins é."}` + "\n",
		`{"prompt": "Which pulse?", "completion": "Lupins."}` + "\n",
		`{"messages": [{"role": "user", "content": "Which?"}, {"role": "assistant", "content": "Lupins."}], "tools": [{"n": 1.0}]}` + "\n",
	} {
		spoil.Each(t, []byte(content), spoil.Limit{Places: 40}, func(t *testing.T, spoiled []byte) {
			s, err := Load(writeFiles(t, map[string]string{"train.jsonl": string(spoiled)}), Options{})
			if err != nil {
				if !strings.Contains(err.Error(), "train.jsonl") {
					t.Errorf("error %q does not name the file", err)
				}
				return
			}
			rows, err := encoder(t, tok, EncoderOptions{MaskPrompt: s.Train.Format != Text}).Rows(s.Train)
			if err != nil {
				return
			}
			for i := range rows.Len() {
				rows.Item(i)
			}
		})
	}
}
