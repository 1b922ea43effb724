package serve

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/generate"
	"github.com/lentil-lm/lentil/profile"
)

// An answer with a profile is held back, sentence by sentence, until the sentence has been scanned. One that names a food
// the person is allergic to is not sent: the answer goes back to its beginning and is written again from there, once, without
// the words that this food, and others with the same allergen, begin with. What then comes is sent, and flagged at the end
// where it still breaks a rule. A stream that showed the sentence and took it back would be quicker by a sentence, but most
// clients cannot take anything back.

// errBroken says that an answer named something that the person is allergic to, and is to be written again.
var errBroken = errors.New("the answer breaks the profile")

// A watch stands between an answer and its client.
type watch struct {
	profile *profile.Profile
	emit    func(event) error
	scanner *profile.Scanner
	whole   bool // nothing is sent before the end: the answer can only be written again from its beginning

	text   strings.Builder // content so far, held pieces included
	held   []heldEvent
	sent   int           // bytes of content that have been sent
	at     int           // tokens of the answer that have been sent
	known  int           // bytes of content that stayed when the answer went back
	hits   []profile.Hit // of what stays
	broken []profile.Hit // that the answer was written again for
	again  int           // how often it went back
	most   int           // how often it may
	second bool          // the sentence under way is written again
}

// A heldEvent waits until its text has been scanned.
type heldEvent struct {
	event
	end int // byte of the content behind it
}

// A verdict is what the scanner found in an answer.
type verdict struct {
	profile   *profile.Profile
	text      string // that was scanned
	rewritten bool   // a sentence was written again
	hits      []profile.Hit
}

func newWatch(q *query, emit func(event) error) *watch {
	w := &watch{profile: q.profile, emit: emit, scanner: profile.NewScanner(q.profile), most: mostAgain}
	if q.grammar != nil || len(q.options.StopStrings) > 0 {
		w.whole, w.most = true, 1
	}
	return w
}

// mostAgain bounds the sentences of an answer that are written again, and so the time that it takes.
const mostAgain = 12

// holds tells whether pieces wait: not where nothing could be written again.
func (w *watch) holds() bool { return w.again < w.most && w.profile.HasAllergies() }

// event takes an event of the answer.
func (w *watch) event(e event) error {
	if e.part == nil && e.finish == "" {
		return w.emit(e)
	}
	var hits []profile.Hit
	if e.part != nil && e.part.Kind == chat.Content {
		w.text.WriteString(e.part.Text)
		hits = w.scanner.Write(e.part.Text)
	}
	if e.finish != "" {
		hits = append(hits, w.scanner.Close()...)
	}
	w.held = append(w.held, heldEvent{e, w.text.Len()})
	for _, h := range hits {
		if h.End <= w.known { // of a sentence that was there before the answer went back
			continue
		}
		if w.holds() && !w.second && h.Severity == profile.Allergy {
			w.broken = append(w.broken, h)
		}
		w.hits = append(w.hits, h)
	}
	if len(w.broken) > 0 {
		return errBroken
	}
	w.second = w.second && w.scanner.Settled() <= w.known
	return w.send(e.finish != "")
}

// send lets go of what has been scanned; of all at the end.
func (w *watch) send(all bool) error {
	for len(w.held) > 0 {
		h := w.held[0]
		if !all && w.holds() && (w.whole || h.end > w.scanner.Settled()) {
			return nil
		}
		w.held = w.held[1:]
		w.sent, w.at = h.end, max(w.at, h.at)
		if h.finish != "" {
			h.stats.verdict = &verdict{w.profile, w.text.String(), w.again > 0, w.hits}
		}
		if err := w.emit(h.event); err != nil {
			return err
		}
	}
	return nil
}

// back forgets what has not been sent. It gives the tokens that have been.
func (w *watch) back() int {
	kept := w.text.String()[:w.sent]
	w.held, w.broken, w.known, w.second = nil, nil, w.sent, true
	w.again++
	w.hits = cut(w.hits, w.sent)
	w.text.Reset()
	w.text.WriteString(kept)
	w.scanner = profile.NewScanner(w.profile)
	w.scanner.Write(kept) // its hits are known
	return w.at
}

// cut leaves the hits before a place.
func cut(hits []profile.Hit, end int) (out []profile.Hit) {
	for _, h := range hits {
		if h.End <= end {
			out = append(out, h)
		}
	}
	return out
}

// again writes the rest of an answer once more, from behind what has been sent.
func (a *running) again(session *engine.Session, o generate.Options) error {
	foods := a.watch.broken
	n := a.watch.back()
	if a.reading != nil {
		a.s.models.end(a.q.variant, a.reading)
		a.reading = nil
	}
	a.before = a.tokens[:n:n]
	a.prompt = append(a.q.prompt[:len(a.q.prompt):len(a.q.prompt)], a.before...)
	a.chars = a.q.variant.Tokenizer.Stream()
	a.newParser()
	for i, id := range a.before {
		a.chars.Add(id)
		a.parser.Add(a.pieces[i])
	}
	a.tokens, a.pieces, a.logs, a.calls = a.before, a.pieces[:n:n], nil, false
	a.was, a.stats.GenerationTokens, a.fed = a.stats, n, 0
	if a.q.grammar != nil {
		a.state = a.q.grammar.Start()
	}
	a.banned = a.s.models.beginnings(a.q, foods)
	if o.MaxTokens > 0 {
		o.MaxTokens -= n
	}
	o.Seed += uint64(a.watch.again) << 32
	o.Filter = a.filter
	err := a.run(session, o)
	switch {
	case errors.Is(err, generate.ErrBusy):
		return errBusy // and not one that the whole answer is tried again for
	case errors.Is(err, errLate): // the time was over before the rest began
		return a.emit(event{finish: generate.FinishLength, at: n, stats: answerStats{Stats: a.stats, promptTime: a.first.Sub(a.began), answerTime: a.last.Sub(a.first)}})
	}
	return err
}

// join makes a piece one of the whole answer: with the text and the figures that it would have, had the answer not gone back.
func (a *running) join(piece *generate.Piece) {
	if a.watch == nil {
		return
	}
	known := len(a.tokens) // the last piece may have no token
	if n := len(a.before); n > 0 {
		piece.Stats.PromptTokens, piece.Stats.CachedTokens, piece.Stats.PromptTPS = a.was.PromptTokens, a.was.CachedTokens, a.was.PromptTPS
		piece.Stats.GenerationTokens += n
	}
	ends := slices.Contains(a.q.options.StopTokens, piece.Token) && piece.Finish == generate.FinishStop
	isNew := piece.Stats.GenerationTokens > known && !ends
	if len(a.before) > 0 {
		piece.Text = ""
		if isNew {
			piece.Text = a.chars.Add(piece.Token)
		}
		if piece.Finish != "" {
			piece.Text += a.chars.Flush()
		}
	}
	if isNew {
		a.tokens, a.pieces = append(a.tokens, piece.Token), append(a.pieces, piece.Text)
	}
}

// beginnings are the tokens that the foods can begin with, in any case: of "almond", "al" and "almonds"; and those, of four
// letters or more, of other words for what the person is allergic to.
func (m *models) beginnings(q *query, foods []profile.Hit) map[int32]bool {
	out := map[int32]bool{}
	others := q.profile.AllergenWords()
	for id, text := range m.tokenWords(q.variant) {
		if text == "" {
			continue
		}
		begins := slices.ContainsFunc(foods, func(f profile.Hit) bool {
			food := strings.ToLower(f.Text)
			return strings.HasPrefix(food, text) || strings.HasPrefix(text, food)
		})
		if at, found := slices.BinarySearch(others, text); begins || found || len(text) >= 4 && at < len(others) && strings.HasPrefix(others[at], text) {
			out[int32(id)] = true
		}
	}
	return out
}

// tokenWords are the tokens of a model that could begin a word, in lower case; "" for others. They are made once.
func (m *models) tokenWords(v *variant) []string {
	v.base.wordsOnce.Do(func() {
		q := query{variant: v}
		v.base.words = make([]string, v.Tokenizer.VocabSize())
		for id := range v.base.words {
			text := strings.ToLower(strings.TrimLeftFunc(q.tokenText(int32(id)), func(r rune) bool { return !unicode.IsLetter(r) }))
			if text != "" && text[0] < utf8.RuneSelf {
				v.base.words[id] = text
			}
		}
	})
	return v.base.words
}

// ban keeps an answer that is written again from the words that it broke the profile with, for a sentence.
func (a *running) ban(logits []float32) {
	if a.banned == nil {
		return
	}
	if !a.watch.second {
		a.banned = nil
		return
	}
	for id := range a.banned {
		if int(id) < len(logits) {
			logits[id] = generate.Masked
		}
	}
}

// object is the verdict as clients read it.
func (v *verdict) object() map[string]any {
	return map[string]any{"id": v.profile.ID, "rewritten": v.rewritten, "violations": v.list(), "notice": v.profile.Notice()}
}

// tell adds the verdict, if there is one, to what a client is told at the end of an answer.
func (s answerStats) tell(m map[string]any) {
	if s.verdict != nil {
		m["profile"] = s.verdict.object()
	}
}

// list are the hits, with their places in characters, as OpenAI counts.
func (v *verdict) list() []any {
	out := []any{}
	for _, h := range v.hits {
		out = append(out, map[string]any{
			"start_index": utf8.RuneCountInString(v.text[:h.Start]), "end_index": utf8.RuneCountInString(v.text[:h.End]),
			"text": h.Text, "food": h.Food, "rule": h.Rule, "severity": cmp.Or(h.Severity, profile.Avoid),
		})
	}
	return out
}

// annotations are the hits beside sources of an answer.
func (v *verdict) annotations() (out []any) {
	if v == nil {
		return nil
	}
	for _, hit := range v.list() {
		out = append(out, map[string]any{"type": "profile_violation", "profile_violation": hit})
	}
	return out
}
