package book

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLayouts: one text set in two and three columns, with notes and running heads, and plainly (interop/peer/make_layouts.py) is
// understood block by block. Faults that these files showed were mended: they guard what works.
func TestLayouts(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"columns", "three", "notes", "plain"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join("testdata", "layouts", name)
			raw, err := os.ReadFile(path + ".json")
			if err != nil {
				t.Fatal(err)
			}
			var truth []struct {
				kind  Kind
				lines []string
			}
			var pairs [][2]json.RawMessage
			if err := json.Unmarshal(raw, &pairs); err != nil {
				t.Fatal(err)
			}
			for _, p := range pairs {
				var kind Kind
				var text string
				var items []string
				var rows [][]string
				json.Unmarshal(p[0], &kind)
				if json.Unmarshal(p[1], &text) == nil {
					items = []string{text}
				} else if json.Unmarshal(p[1], &items) != nil {
					json.Unmarshal(p[1], &rows)
					items = nil
					for _, r := range rows {
						items = append(items, strings.Join(r, "\t"))
					}
				}
				truth = append(truth, struct {
					kind  Kind
					lines []string
				}{kind, items})
			}
			d, err := Open(path + ".pdf")
			if err != nil {
				t.Fatal(err)
			}
			check(t, d)
			found := map[Kind]map[string]int{}
			for i := range d.Blocks {
				b := &d.Blocks[i]
				if found[b.Kind] == nil {
					found[b.Kind] = map[string]int{}
				}
				for line := range strings.SplitSeq(b.Text, "\n") {
					if b.Kind == Note {
						line = strings.TrimLeft(line, "0123456789 ")
					}
					found[b.Kind][line]++
				}
			}
			total, hit := map[Kind]int{}, map[Kind]int{}
			var want []string
			for _, b := range truth {
				for _, line := range b.lines {
					total[b.kind]++
					if b.kind != Note { // which stand at the end of their pages
						want = append(want, words(line)...)
					}
					if found[b.kind][line] > 0 {
						found[b.kind][line]--
						hit[b.kind]++
					} else {
						t.Logf("no %s %q", b.kind, line)
					}
				}
			}
			kept := words(d.Text())
			r, o := recall(want, kept), order(want, kept)
			t.Logf("recall %.4f, order %.4f, of %v: %v", r, o, total, hit)
			if r < 0.98 || o < 0.97 {
				t.Errorf("recall %.4f, order %.4f, expected 0.98, 0.97 or more", r, o)
			}
			for kind, n := range total {
				if share := float64(hit[kind]) / float64(n); share < 0.95 {
					t.Errorf("%s: %d of %d, expected 0.95 or more", kind, hit[kind], n)
				}
			}
		})
	}
}
