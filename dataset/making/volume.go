package making

import (
	"hash/fnv"
	"slices"

	"github.com/lentil-lm/lentil/book"
	"github.com/lentil-lm/lentil/dataset/near"
)

// A volume is a book that was opened.
type volume struct {
	path string
	doc  *book.Document
	copy bool // of another one: it gives no rows
}

// A Copy is a book that stands in another one: the same in another format, say.
type Copy struct {
	Path  string  `json:"path"`
	Of    string  `json:"of"`
	Share float64 `json:"share"` // of its runs of words that the other has
}

// Numbers of the search for copies: runs of so many words, of which one in sampledRuns is looked at.
const (
	copyRun     = 6
	sampledRuns = 8
	sameBook    = 0.7 // readers of two formats break some lines, tables and hyphens in other ways
	leastRuns   = 20  // of a book that is compared: fewer say little
)

// byTrust are formats, those whose structure is told best first: of two copies the earlier one stays.
var byTrust = []string{"epub", "docx", "html", "markdown", "text", "pdf"}

// markCopies marks the books that another one has: shelves hold the same book as EPUB and as PDF, and what is told twice would
// lie on both sides of the split.
func markCopies(books []*volume) (out []Copy) {
	order := make([]int, len(books))
	for i := range order {
		order[i] = i
	}
	trust := func(i int) int { return slices.Index(byTrust, books[i].doc.Format) }
	slices.SortStableFunc(order, func(a, b int) int { return trust(a) - trust(b) })
	owner := map[uint64]int{} // the first book that has a run
	whole := map[string]int{} // and that with a text, however short
	for _, i := range order {
		text := books[i].doc.Text()
		if o, ok := whole[text]; ok {
			books[i].copy = true
			out = append(out, Copy{books[i].path, books[o].path, 1})
			continue
		}
		whole[text] = i
		runs := runsOf(books[i].doc)
		in := map[int]int{}
		for h := range runs {
			if o, ok := owner[h]; ok {
				in[o]++
			}
		}
		of, most := -1, 0
		for o, n := range in {
			if n > most || n == most && o < of {
				of, most = o, n
			}
		}
		if share := float64(most) / float64(max(len(runs), 1)); len(runs) >= leastRuns && share >= sameBook {
			books[i].copy = true
			out = append(out, Copy{books[i].path, books[of].path, share})
			continue
		}
		for h := range runs {
			if _, ok := owner[h]; !ok {
				owner[h] = i
			}
		}
	}
	return out
}

// runsOf are the sampled runs of words of a book.
func runsOf(d *book.Document) map[uint64]bool {
	runs := map[uint64]bool{}
	from, to := boilerplate(d)
	var words []string
	for i := from; i < to; i++ {
		words = append(words, near.Words(d.Blocks[i].Text)...)
	}
	for i := 0; i+copyRun <= len(words); i++ {
		h := fnv.New64a()
		for _, w := range words[i : i+copyRun] {
			h.Write([]byte(w))
			h.Write([]byte{0})
		}
		if x := h.Sum64(); x>>32%sampledRuns == 0 {
			runs[x] = true
		}
	}
	return runs
}
