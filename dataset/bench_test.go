package dataset

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/tokenizer"
)

// BenchmarkPrepare tokenises masked question-answer rows with a real tokenizer and template.
func BenchmarkPrepare(b *testing.B) {
	tok, err := tokenizer.Load(sharedDir(b, filepath.Join("tokenizers", "qwen2_5")))
	if err != nil {
		b.Fatal(err)
	}
	var lines strings.Builder
	for i := range 500 {
		fmt.Fprintf(&lines, `{"prompt": "How much protein is in %d g of cooked lentils, and how much fibre?", "completion": "About %d g of protein, for 100 g of cooked lentils hold 9 g, and somewhat less fibre."}`+"\n", i, i*9/100)
	}
	s := load(b, map[string]string{"train.jsonl": lines.String()}, Options{})
	tokens := 0
	for b.Loop() {
		rows, err := encoder(b, tok, EncoderOptions{MaskPrompt: true}).Rows(s.Train)
		if err != nil {
			b.Fatal(err)
		}
		rep, err := rows.Prepare(context.Background(), nil)
		if err != nil {
			b.Fatal(err)
		}
		tokens += rep.Tokens
	}
	b.ReportMetric(float64(tokens)/b.Elapsed().Seconds(), "tokens/s")
}
