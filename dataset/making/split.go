package making

import "github.com/lentil-lm/lentil/book"

// Units of the split, in bytes: a fortieth of the books, within bounds. A unit ends at a heading where there is one.
const (
	leastUnit = 1500
	mostUnit  = 40_000
	unitsOf   = 40
)

// split puts each passage into train, valid or test. Neighbours stay together: units are runs of passages of one book,
// and change at headings.
func (m *maker) split() {
	total := 0
	for _, p := range m.passages {
		total += len(p.Text)
	}
	want := min(max(total/unitsOf, leastUnit), mostUnit)
	unit, size := 0, 0
	var sizes []int
	for i, p := range m.passages {
		begins := p.doc.Blocks[p.From].Kind == book.Heading
		other := i > 0 && p.Book != m.passages[i-1].Book
		if i > 0 && (other || size >= want && (begins || size >= 2*want)) {
			sizes = append(sizes, size)
			unit, size = unit+1, 0
		}
		p.unit = unit
		size += len(p.Text)
	}
	sizes = append(sizes, size)
	sides := make([]string, len(sizes))
	for i := range sides {
		sides[i] = "train"
	}
	// Units are drawn until their share is reached; the first never, which is mostly title and preface.
	order := m.dice(1).Perm(len(sizes))
	for _, part := range []struct {
		name  string
		share float64
	}{{"test", m.opt.Test}, {"valid", m.opt.Valid}} {
		need := part.share * float64(total)
		for _, u := range order {
			if need < float64(sizes[u])/2 {
				if need <= 0 || sides[u] != "train" {
					continue
				}
			}
			if sides[u] == "train" && u > 0 && len(sizes) > 2 && need > 0 {
				sides[u] = part.name
				need -= float64(sizes[u])
			}
		}
	}
	m.report.Units = len(sizes)
	for _, p := range m.passages {
		p.split = sides[p.unit]
	}
}
