package making

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/book"
	"github.com/lentil-lm/lentil/dataset/pii"
	"github.com/lentil-lm/lentil/eval/score"
	"github.com/lentil-lm/lentil/fault"
)

// splitNames are the splits in the order in which they are told.
var splitNames = []string{"train", "valid", "test"}

// Bounds of questions for measuring, by kind. More than these make no interval much narrower.
const (
	mostTrained = 150
	mostUnseen  = 60
	mostUnknown = 20
)

// finish makes rows and questions of the facts.
func (m *maker) finish() (*Made, error) {
	made := &Made{opt: m.opt, Texts: map[string][]string{}}
	facts := m.chosen()
	m.report.Facts = len(facts)
	dice := m.dice(2)
	for _, f := range facts {
		for i, ask := range m.trainAsks(f) {
			r := Row{Kind: f.kind, Question: ask, Answer: f.answers[i%len(f.answers)], Wrong: f.wrong, By: f.by, Model: cmp.Or(f.model, "none"), Quote: f.quote, More: f.more, Profile: f.profile, Split: f.side(), fact: f, passage: f.passage, block: f.block}
			if f.near != nil {
				r.Near, r.ByMeaning = f.near.asks[1], f.byMeaning
			}
			made.Rows = append(made.Rows, r)
		}
	}
	m.unknownRows(made, facts)
	m.profiled(made)
	if m.opt.Format == Pairs {
		all := len(made.Rows)
		made.Rows = slices.DeleteFunc(made.Rows, func(r Row) bool { return r.Wrong == "" })
		m.dropped["rows without a worse answer, which pairs have"] += all - len(made.Rows)
	}
	if err := m.count(made); err != nil {
		return nil, err
	}
	if err := m.texts(made); err != nil {
		return nil, err
	}
	if err := m.mix(made); err != nil {
		return nil, err
	}
	m.order(made, dice)
	m.questions(made, facts)
	m.fillReport(made)
	made.Report = m.report
	if len(made.Rows) == 0 && m.opt.Format != Texts && len(made.Texts["train"]) > 0 {
		m.warn(fault.Say("the books gave no questions, only the rows of text in the folder %s", TextFolder))
	}
	if len(made.Rows) == 0 && len(made.Texts["train"]) == 0 {
		return nil, fault.Of("the books gave no row").Try("Look at what was understood of one: lentil dataset read BOOK")
	}
	return made, nil
}

// chosen gives the facts that become rows: all, or as many as the limit allows, one of each passage in turn, so that
// every page keeps some.
func (m *maker) chosen() []*fact {
	if m.opt.Rows == 0 || m.opt.Rows >= len(m.facts)*m.opt.Wordings {
		return m.facts
	}
	by := map[*Passage][]*fact{}
	for _, f := range m.facts {
		by[f.passage] = append(by[f.passage], f)
	}
	dice := m.dice(3)
	for _, p := range m.passages {
		list := by[p]
		dice.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	keep := map[*fact]bool{}
	for rows, turn := 0, 0; rows < m.opt.Rows; turn++ {
		var next []*fact
		for _, p := range m.passages {
			if list := by[p]; turn < len(list) {
				next = append(next, list[turn])
			}
		}
		if len(next) == 0 {
			break
		}
		// The last turn does not come to all: it takes passages all over the books.
		n := min(max((m.opt.Rows-rows+m.opt.Wordings-1)/m.opt.Wordings, 1), len(next))
		for k := range n {
			f := next[k*len(next)/n]
			keep[f] = true
			rows += len(m.trainAsks(f))
		}
	}
	out := slices.DeleteFunc(slices.Clone(m.facts), func(f *fact) bool { return !keep[f] })
	m.dropped["more than the rows that were asked for"] += len(m.facts) - len(out)
	return out
}

// trainAsks are the wordings of a fact in rows, the same for each seed.
func (m *maker) trainAsks(f *fact) []string {
	asks := slices.Clone(f.asks[1:])
	dice := rand.New(rand.NewPCG(m.opt.Seed, f.id()))
	dice.Shuffle(len(asks), func(i, j int) { asks[i], asks[j] = asks[j], asks[i] })
	return asks[:min(len(asks), m.opt.Wordings)]
}

// unknownRows adds rows that teach to say so where the books do not tell.
func (m *maker) unknownRows(made *Made, facts []*fact) {
	n := int(unknownShare * float64(len(made.Rows)))
	things := slices.Clone(facts)
	m.dice(4).Shuffle(len(things), func(i, j int) { things[i], things[j] = things[j], things[i] })
	things = slices.DeleteFunc(things, func(f *fact) bool { return f.side() != "train" })
	for _, f := range m.unknown(unknownTrained, things, n) {
		made.Rows = append(made.Rows, Row{Kind: Unknown, Question: f.asks[1], Answer: f.answers[0], By: f.by, Model: "none", Split: "train", fact: f, passage: f.passage, block: f.block})
	}
}

// order shuffles the rows of each split, one split behind the other.
func (m *maker) order(made *Made, dice *rand.Rand) {
	dice.Shuffle(len(made.Rows), func(i, j int) { made.Rows[i], made.Rows[j] = made.Rows[j], made.Rows[i] })
	slices.SortStableFunc(made.Rows, func(a, b Row) int { return slices.Index(splitNames, a.Split) - slices.Index(splitNames, b.Split) })
}

// tokens counts those of a text.
func (m *maker) tokens(text string) (int, error) {
	if m.opt.Count == nil {
		return (len(text) + 3) / 4, nil
	}
	return m.opt.Count(text)
}

func (m *maker) count(made *Made) error {
	for i := range made.Rows {
		r := &made.Rows[i]
		n, err := m.tokens(m.opt.System + "\n" + r.Question + "\n" + r.Answer)
		if err != nil {
			return err
		}
		r.tokens = n
	}
	return nil
}

// texts makes rows of continued pretraining: chunks of each unit of the split, without what only helps to find one's way.
func (m *maker) texts(made *Made) (err error) {
	count := func(text string) int {
		n, failed := m.tokens(text)
		err = cmp.Or(err, failed)
		return n
	}
	for i := 0; i < len(m.passages); {
		first := m.passages[i]
		var unit book.Document
		for ; i < len(m.passages) && m.passages[i].unit == first.unit; i++ {
			for _, b := range m.passages[i].doc.Blocks[m.passages[i].From:m.passages[i].To] {
				if b.Part == "" {
					unit.Blocks = append(unit.Blocks, b)
				}
			}
		}
		for _, c := range unit.Chunks(book.Chunking{Tokens: m.opt.TextTokens, Count: count}) {
			text := strings.TrimSpace(strings.ReplaceAll(c.Text, "\t", " | "))
			if m.opt.Privacy != Keep {
				text, _ = pii.Mask(text)
			}
			if text != "" {
				made.Texts[first.split] = append(made.Texts[first.split], text)
			}
		}
	}
	return err
}

// questions are for measuring: of facts in training data, of facts in test passages, and of what the books do not tell.
func (m *maker) questions(made *Made, facts []*fact) {
	trained := map[string]bool{} // questions of rows
	for _, r := range made.Rows {
		if r.Split != "test" {
			trained[key(r.Question)] = true
		}
	}
	pick := func(side string, kind score.Kind, most int, purpose uint64) {
		list := slices.DeleteFunc(slices.Clone(facts), func(f *fact) bool {
			return (f.profile != nil) != (kind == score.Profile) || f.profile == nil && f.side() != side || !f.sound() || trained[key(f.asks[0])]
		})
		m.dice(purpose).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		asked := map[string]bool{}
		for _, f := range list {
			k := key(f.asks[0])
			if f.profile != nil {
				k += f.profile.ID
			}
			if !asked[k] && len(asked) < most {
				asked[k] = true
				made.Questions = append(made.Questions, f.question(kind))
			}
		}
	}
	pick("train", score.Trained, mostTrained, 5)
	pick("test", score.Unseen, mostUnseen, 6)
	pick("", score.Profile, mostProfiled, 8)
	things := slices.Clone(facts)
	m.dice(7).Shuffle(len(things), func(i, j int) { things[i], things[j] = things[j], things[i] })
	for _, f := range m.unknown(unknownAsks, things, mostUnknown) {
		made.Questions = append(made.Questions, score.Question{Question: f.asks[0], Kind: score.Unanswerable})
	}
}
