package making

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"

	"github.com/lentil-lm/lentil/book"
	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/dataset/near"
	"github.com/lentil-lm/lentil/dataset/pii"
	"github.com/lentil-lm/lentil/eval/score"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/profile"
)

// Privacy says what becomes of addresses and numbers of persons.
type Privacy string

// What may become of them.
const (
	Mask Privacy = "mask" // the kind stands in brackets in their place
	Keep Privacy = "keep"
	Drop Privacy = "drop" // rows that have some are left out
)

// Options say what is made of books. New gives the defaults.
type Options struct {
	Books  []string // files, and folders of files
	OCR    string   // command that reads pages that are pictures, see book.Options; "" for none
	Format Format
	System string // the system message of every row; "" for none

	Rows     int // at most, in all splits; 0 for all that the books give
	Wordings int // of the question of a fact, in training data
	Seed     uint64
	Valid    float64 // shares of the text
	Test     float64
	Privacy  Privacy

	TextTokens int // of a row of continued pretraining
	// Count counts tokens. Nil: a token is taken for four bytes.
	Count func(text string) (int, error)
	Mix   []Mix
	// Profiles are users that rows are made for: whether a recipe is for them, and answers that keep their rules.
	Profiles []*profile.Profile

	// Embed finds rows that say the same in other words; nil for none.
	Embed Embedder

	// Writer is a model that writes rows beside those that need none; nil for none.
	Writer *Writer
	// PlanOnly reckons what the writer would be asked, and asks nothing.
	PlanOnly bool

	// Warn hears of what is left out. May be nil.
	Warn func(fault.Note)
}

// A Mix is rows of another dataset that come along, so that the model does not forget what it could.
type Mix struct {
	Path  string
	Share float64 // of all tokens of the rows for training, or of its texts, below 1
	Data  dataset.Options
}

// New gives the options of a dataset as most will want it.
func New(books ...string) Options {
	return Options{Books: books, Format: Messages, Wordings: 3, Valid: 0.05, Test: 0.1, Privacy: Mask, TextTokens: 512}
}

// A Row is a row of the dataset, with where it comes from.
type Row struct {
	Kind      Kind
	Question  string
	Answer    string
	Wrong     string           // an answer that is worse, for pairs; "" for none
	By        string           // the rule, or the prompt, that made it
	Model     string           // that wrote it; "none"
	Quote     string           // of the page
	More      []string         // a second question and its answer
	Profile   *profile.Profile // of the user; nil for none
	ByMeaning bool             // Near was found by vectors
	Near      string           // the row that it is nearly the same as, if any
	Split     string

	fact    *fact
	passage *Passage
	block   int
	mixed   *dataset.Row
	tokens  int
}

// A Made dataset is what [Make] gives and [Made.Write] writes.
type Made struct {
	Rows      []Row // train, valid and test, each in the order of its file
	Texts     map[string][]string
	Questions []score.Question
	Report    Report

	opt Options
}

// maker is the state of one Make.
type maker struct {
	opt      Options
	passages []*Passage
	words    *lexicon
	short    shorts
	facts    []*fact
	dropped  map[string]int
	report   Report

	bookWords map[string]int // words that the reader of a book gave, by path
}

// Make reads the books and makes a dataset of them. The same books and options give the same dataset.
func Make(ctx context.Context, o Options) (*Made, error) {
	m := &maker{opt: o, words: newLexicon(), dropped: map[string]int{}, bookWords: map[string]int{}}
	if err := m.read(ctx); err != nil {
		return nil, err
	}
	m.split()
	for _, p := range m.passages {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		m.facts = append(m.facts, m.factsOf(p)...)
	}
	if w := o.Writer; w != nil && o.PlanOnly {
		plan, err := m.plan(w)
		if err != nil {
			return nil, err
		}
		m.report.Plan = &plan
	} else if w != nil {
		if err := m.write(ctx, w); err != nil {
			return nil, err
		}
	}
	m.ambiguous()
	m.alike()
	if err := m.meanings(ctx); err != nil {
		return nil, err
	}
	m.twins()
	return m.finish()
}

// read opens all books. One that cannot be read is warned of; if none can, that is an error.
func (m *maker) read(ctx context.Context) error {
	paths, err := book.Shelf(m.opt.Books...)
	if err != nil {
		return fault.Mark(err)
	}
	var failed error
	var books []*volume
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return err
		}
		d, err := book.Options{OCR: m.opt.OCR}.Open(ctx, path)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			if len(paths) == 1 {
				return fault.Mark(err)
			}
			failed = cmp.Or(failed, err)
			m.report.Unread = append(m.report.Unread, path)
			m.warn(fault.Say("left out: %v", err))
			continue
		}
		books = append(books, &volume{path: path, doc: d})
	}
	for _, c := range markCopies(books) {
		m.report.Copies = append(m.report.Copies, c)
		m.warn(fault.Say("%s is left out: %.0f %% of it stands in %s", c.Path, 100*c.Share, c.Of))
	}
	for _, v := range books {
		if !v.copy {
			m.learn(v)
		}
	}
	if len(m.passages) == 0 {
		if failed != nil {
			return fault.Mark(failed)
		}
		return fault.Of("no book was given").Try("Give files: .epub, .html, .md, .txt ..., or a folder of them.")
	}
	return nil
}

// learn cuts a book into passages, and takes its words and short forms in.
func (m *maker) learn(v *volume) {
	m.bookWords[v.path] = wordCount(v.doc.Text())
	from, to := boilerplate(v.doc)
	m.report.Licence += len(v.doc.Blocks) - (to - from)
	part := *v.doc
	part.Blocks = v.doc.Blocks[from:to]
	found := passagesOf(v.path, &part)
	for _, p := range found {
		if m.opt.Privacy != Keep {
			p.Text, _ = pii.Mask(p.Text)
		}
		m.words.add(p.Text)
		m.short.learn(p.Text)
		for i := p.From; i < p.To; i++ {
			b := &part.Blocks[i]
			if b.Kind == book.Paragraph {
				m.words.learn(b.Text)
			}
			if b.Kind == book.Table {
				for _, row := range b.Rows() {
					if len(row) == 2 {
						m.short.learnRow(row[0], row[1])
					}
				}
			}
		}
	}
	if isForeign(&part) {
		m.warn(fault.Say("%s is not in English: without a model it gives rows of text alone, in the folder text", v.path))
		m.report.Foreign = append(m.report.Foreign, v.path)
	}
	m.passages = append(m.passages, found...)
}

func (m *maker) warn(n fault.Note) {
	if m.opt.Warn != nil {
		m.opt.Warn(n)
	}
}

// factsOf finds what a passage states.
func (m *maker) factsOf(p *Passage) []*fact {
	if slices.Contains(m.report.Foreign, p.Book) {
		return nil
	}
	all := m.facts
	m.facts = nil
	m.section(p)
	for i := p.From; i < p.To; i++ {
		if p.doc.Blocks[i].Part != "" { // contents, index or bibliography: it states nothing
			continue
		}
		switch p.doc.Blocks[i].Kind {
		case book.Table:
			m.table(p, i)
		case book.Recipe:
			m.recipe(p, i)
		case book.List:
			m.list(p, i)
		case book.Paragraph, book.Note, book.Quote:
			m.prose(p, i)
		}
	}
	found := m.facts
	m.facts = all
	return found
}

// add takes a fact, unless it tells of persons where that is not wanted.
func (m *maker) add(f *fact) {
	if m.opt.Privacy != Keep {
		texts := []*string{&f.quote, &f.wrong}
		for _, list := range [][]string{f.asks, f.answers, f.more} {
			for i := range list {
				texts = append(texts, &list[i])
			}
		}
		for _, text := range texts {
			masked, found := pii.Mask(*text)
			if len(found) == 0 {
				continue
			}
			m.report.Personal += len(found)
			if m.opt.Privacy == Drop {
				m.dropped["tells of persons"]++
				return
			}
			*text = masked
		}
	}
	m.facts = append(m.facts, f)
}

// ambiguous takes out questions that have several answers in the books, and facts that are there twice.
func (m *maker) ambiguous() {
	answers := map[string]string{}
	several := map[string]bool{}
	asked := func(f *fact, ask string) string { // what one user asks is another question than what another one asks
		if f.profile != nil {
			return f.profile.ID + "\x00" + key(ask)
		}
		return key(ask)
	}
	for _, f := range m.facts {
		for _, a := range f.asks {
			k, answer := asked(f, a), key(f.answers[0])
			if was, ok := answers[k]; ok && was != answer {
				several[k] = true
			}
			answers[k] = answer
		}
	}
	seen := map[string]bool{}
	m.facts = slices.DeleteFunc(m.facts, func(f *fact) bool {
		k := string(f.kind) + asked(f, f.asks[1]) + "\x00" + key(f.answers[0])
		if seen[k] {
			m.dropped["the same as another row"]++
			return true
		}
		seen[k] = true
		for i := len(f.asks) - 1; i >= 0; i-- {
			if f.asks[i] == "" || !several[asked(f, f.asks[i])] {
				continue
			}
			if i == 0 {
				f.asks[0] = ""
			} else {
				f.asks = slices.Delete(f.asks, i, i+1)
			}
		}
		if len(f.asks) < 2 {
			m.dropped["the books answer the question in several ways"]++
			return true
		}
		return false
	})
}

// alike tags facts that are nearly the same as an earlier one, by their words.
func (m *maker) alike() {
	var x near.Index
	for _, f := range m.facts {
		s := near.Of(f.quote + " " + f.answers[0])
		if at, _ := x.Find(s); at >= 0 {
			f.near = m.facts[at]
		}
		x.Add(s)
	}
}

// twins puts facts that are nearly the same on one side of the split: that of training, if one of them is there.
func (m *maker) twins() {
	for _, f := range m.facts {
		if f.near == nil {
			continue
		}
		if f.side() != f.near.side() {
			m.report.Moved++
		}
		if first := f.near; first.side() == "train" || f.side() == "train" {
			f.moved, first.moved = "train", "train"
		} else {
			f.moved = first.side()
		}
	}
}

// side is the split that a fact lies in.
func (f *fact) side() string { return cmp.Or(f.moved, f.passage.split) }

// dice gives the random numbers of one purpose: they do not depend on what else is drawn.
func (m *maker) dice(purpose uint64) *rand.Rand { return rand.New(rand.NewPCG(m.opt.Seed, purpose)) }
