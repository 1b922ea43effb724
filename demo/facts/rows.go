package facts

// perFact is how many train wordings each fact is asked in. Which ones rotates from fact to
// fact, so every wording is used about equally often.
const perFact = 5

// testsPerFact is how many test wordings each trained fact is asked in.
const testsPerFact = 2

// Splits are the rows of the four dataset files.
type Splits struct {
	Train, Valid, Test, Unseen []Row
}

// Make builds the four splits from the facts table. It draws nothing at random but the order
// of the train rows, which comes from a fixed seed.
func Make() Splits {
	byID := map[string]Relation{}
	for _, r := range Relations() {
		byID[r.ID] = r
	}
	var s Splits
	for i, f := range Facts() {
		r := byID[f.Relation]
		if f.Unseen {
			s.Unseen = append(s.Unseen, ask(r, f, Test, i, 1)...)
			continue
		}
		s.Train = append(s.Train, ask(r, f, Train, i, perFact)...)
		s.Valid = append(s.Valid, ask(r, f, Valid, i, 1)...)
		s.Test = append(s.Test, ask(r, f, Test, i, testsPerFact)...)
	}
	s.Train = append(s.Train, ideaRows()...)
	shuffle(s.Train, 20240229)
	return s
}

// Question is one line of a question file: a fact in words that no row of the training data has.
type Question struct {
	ID       string   `json:"id"`
	Question string   `json:"question"`
	Answer   string   `json:"answer"`
	Facts    []string `json:"facts"`
	Kind     string   `json:"kind"` // "trained" or "unseen"
	Page     string   `json:"page"`
}

// Questions asks for each fact once, in a wording of the test set.
func Questions() (out []Question) {
	byID := map[string]Relation{}
	for _, r := range Relations() {
		byID[r.ID] = r
	}
	for i, f := range Facts() {
		kind := "trained"
		if f.Unseen {
			kind = "unseen"
		}
		for _, row := range ask(byID[f.Relation], f, Test, i, 1) {
			out = append(out, Question{f.ID, row.Messages[0].Content, row.Messages[1].Content, []string{f.Value}, kind, f.Page})
		}
	}
	return out
}

// ask makes n rows of fact f in the relation's wordings of one use, beginning at the turn-th.
func ask(r Relation, f Fact, use Use, turn, n int) []Row {
	var of []Wording
	for _, w := range r.Wordings {
		if w.Use == use {
			of = append(of, w)
		}
	}
	var rows []Row
	for k := range min(n, len(of)) {
		q, a := of[(turn+k)%len(of)].Ask(f)
		rows = append(rows, Row{[]Message{{"user", q}, {"assistant", a}}})
	}
	return rows
}

// shuffle puts rows into an order fixed by the seed (SplitMix64 and Fisher-Yates, written
// out so that the files stay the same whatever the standard library does).
func shuffle(rows []Row, seed uint64) {
	for i := len(rows) - 1; i > 0; i-- {
		seed += 0x9e3779b97f4a7c15
		z := (seed ^ seed>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		z ^= z >> 31
		j := int(z % uint64(i+1))
		rows[i], rows[j] = rows[j], rows[i]
	}
}
