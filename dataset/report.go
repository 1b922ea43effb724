package dataset

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/lentil-lm/lentil/fault"
)

// Report tells what a split holds, in tokens.
type Report struct {
	Split      string
	Pairs      bool  // each row is two sequences, and counts as one
	Rows       int   // without those of NoLoss, unless mlx-lm's behaviour is copied
	Tokens     int   // of all rows, uncut, but for what is unread
	LossTokens int   // tokens to be predicted, after cutting
	Longest    int   // tokens of the longest row
	P50, P95   int   // median and 95th percentile of row lengths
	BinWidth   int   // of Bins
	Bins       []int // rows of 1 to BinWidth tokens, BinWidth+1 to 2·BinWidth, and so on

	Truncated  int // rows longer than the limit
	LostTokens int // tokens beyond the limit
	Unread     int // bytes beyond the limit that were not even tokenised
	NoLoss     int // rows without a token to learn
	Vain       int // pairs whose answers are equal, or one of them is empty, and single votes: they are not among Rows
	NotPrefix  int // rows that do not begin with their rendered prompt
	NotByModel int // rows whose learnt final message is not the assistant's
	LeftOut    int // rows of which the template leaves something out
	Empty      int // rows with an empty answer
	OddRoles   int // rows with a role that is none

	limit                                      int
	keep                                       bool // rows without loss stay
	longestAt, notPrefixAt, notByModelAt, role string
	noLossAt, vainAt                           []string
	leftOut                                    LeftOut // all kinds
	leftOutAt, emptyAt, oddRoleAt, oddRole     string
}

// maxBins bounds Report.Bins.
const maxBins = 30

// count fills the bins with the lengths of rows.
func (r *Report) count(lengths []int) {
	for r.BinWidth = 1; r.Longest > maxBins*r.BinWidth; r.BinWidth *= 2 {
	}
	r.Bins = make([]int, (r.Longest+r.BinWidth-1)/r.BinWidth)
	for _, n := range lengths {
		if n > 0 {
			r.Bins[(n-1)/r.BinWidth]++
		}
	}
}

// add counts an item and reports whether it has anything to learn.
func (r *Report) add(item Item, where string) bool {
	learnt, cut := r.addTokens(item, where)
	vain := false
	if other := item.Rejected; other != nil {
		r.Pairs = true
		learntToo, cutToo := r.addTokens(*other, where)
		learnt, cut = learnt && learntToo, cut || cutToo
		vain = learnt && slices.Equal(r.read(item), r.read(*other))
		item.NotPrefix = item.NotPrefix || other.NotPrefix
		item.LeftOut |= other.LeftOut
		item.EmptyAnswer = item.EmptyAnswer || other.EmptyAnswer
		item.FinalRole = cmp.Or(item.FinalRole, other.FinalRole)
		item.OddRole = cmp.Or(item.OddRole, other.OddRole)
	}
	if cut {
		r.Truncated++
	}
	if item.NotPrefix {
		if r.NotPrefix++; r.NotPrefix == 1 {
			r.notPrefixAt = where
		}
	}
	r.addOdd(item, where)
	if item.FinalRole != "" {
		if r.NotByModel++; r.NotByModel == 1 {
			r.notByModelAt, r.role = where, item.FinalRole
		}
	}
	if !learnt {
		if r.NoLoss++; r.NoLoss <= maxReported {
			r.noLossAt = append(r.noLossAt, where)
		}
	}
	if vain {
		r.addVain(where)
	}
	return learnt && !vain
}

// read gives the tokens within the limit. Those of a pair may be equal though its texts are not: the
// template trims answers, and the limit may cut them before they part.
func (r *Report) read(item Item) []int32 {
	if r.limit > 0 {
		return item.IDs[:min(len(item.IDs), r.limit)]
	}
	return item.IDs
}

// addVain counts a pair that teaches nothing.
func (r *Report) addVain(where string) {
	if r.Vain++; r.Vain <= maxReported {
		r.vainAt = append(r.vainAt, where)
	}
}

// addTokens counts those of a sequence and reports whether any of its answer is learnt, and whether it will be cut.
func (r *Report) addTokens(item Item, where string) (learnt, cut bool) {
	n := len(item.IDs)
	r.Tokens += n
	if n > r.Longest {
		r.Longest, r.longestAt = n, where
	}
	if cut = r.limit > 0 && n > r.limit; cut {
		r.LostTokens += n - r.limit
		n = r.limit
	}
	r.Unread += item.Unread
	for _, span := range item.Loss {
		r.LossTokens += max(0, min(span[1], n)-span[0])
		learnt = learnt || min(span[1], n) > max(span[0], item.Offset)
	}
	return learnt, cut
}

// addOdd counts what is likely a mistake in the row, or in the choice of the model.
func (r *Report) addOdd(item Item, where string) {
	if item.LeftOut != 0 {
		r.leftOut |= item.LeftOut
		if r.LeftOut++; r.LeftOut == 1 {
			r.leftOutAt = where
		}
	}
	if item.EmptyAnswer {
		if r.Empty++; r.Empty == 1 {
			r.emptyAt = where
		}
	}
	if item.OddRole != "" {
		if r.OddRoles++; r.OddRoles == 1 {
			r.oddRoleAt, r.oddRole = where, item.OddRole
		}
	}
}

func (r *Report) noLossRemedy() fault.Note {
	if r.limit > 0 && r.Truncated > 0 {
		return fault.Say("The prompts fill all of the %d tokens: raise %v or shorten the prompts", r.limit, fault.Setting("max_seq_length"))
	}
	return fault.Say("The completions are empty: write them, or remove the rows")
}

// String sums up the report in one line.
func (r *Report) String() string {
	return fmt.Sprintf("%s: %d %s, %d tokens (%d learnt), row length median %d, 95 %% up to %d, longest %d",
		r.Split, r.Rows, map[bool]string{false: "rows", true: "pairs"}[r.Pairs], r.Tokens, r.LossTokens, r.P50, r.P95, r.Longest)
}

// Warnings tell, one each, what is likely not meant: rows that will be cut, rows without loss, odd masks.
func (r *Report) Warnings() []fault.Note {
	var w []fault.Note
	if r.Truncated > 0 {
		lost := fmt.Sprintf("%d tokens", r.LostTokens)
		if r.Unread > 0 {
			lost += fmt.Sprintf(" and %d bytes more", r.Unread)
		}
		w = append(w, fault.Say("%s: %s longer than %d tokens and will be cut there, losing %s; the longest, %s, has %d. Split long rows beforehand or raise %v.",
			r.Split, rowsAre(r.Truncated), r.limit, lost, r.longestAt, r.Longest, fault.Setting("max_seq_length")))
	}
	if r.Vain > 0 {
		w = append(w, fault.Say("%s: %s skipped, as chosen and rejected are equal, one of them is empty, or there is a vote on one answer: %s.", r.Split, rowsAre(r.Vain), listed(r.vainAt, r.Vain)))
	}
	if r.NoLoss > 0 {
		fate := "and will be skipped"
		if r.keep {
			fate = "but stay, as in mlx-lm"
		}
		w = append(w, fault.Say("%s: %s without a token to learn %s: %s. %v.", r.Split, rowsAre(r.NoLoss), fate, listed(r.noLossAt, r.NoLoss), r.noLossRemedy()))
	}
	if r.NotPrefix > 0 {
		w = append(w, fault.Say("%s: in %d rows the chat template writes the prompt differently once the answer follows (first in %s); there the loss begins where the two renderings part.",
			r.Split, r.NotPrefix, r.notPrefixAt))
	}
	if r.NotByModel > 0 {
		w = append(w, fault.Say("%s: %d rows end with a message that is not the assistant's, and the model will learn to write it (first %s, role %q).",
			r.Split, r.NotByModel, r.notByModelAt, r.role))
	}
	return append(w, r.oddWarnings()...)
}

func (r *Report) oddWarnings() (w []fault.Note) {
	if r.LeftOut > 0 {
		w = append(w, fault.Say("%s: in %s the chat template leaves out %v, which the model will not learn (first in %s). Take a model whose template knows them.",
			r.Split, rows(r.LeftOut), r.leftOut, r.leftOutAt))
	}
	if r.Empty > 0 {
		w = append(w, fault.Say("%s: %s with an empty answer, which the model will learn to give (first %s). Write it, or remove the row.",
			r.Split, rowsAre(r.Empty), r.emptyAt))
	}
	if r.OddRoles > 0 {
		w = append(w, fault.Say("%s: in %s a message has a role that is none (first in %s: %.60q). Chat templates know system, user, assistant and tool.",
			r.Split, rows(r.OddRoles), r.oddRoleAt, r.oddRole))
	}
	return w
}

// listed names the first of n rows.
func listed(first []string, n int) string {
	text := strings.Join(first, ", ")
	if n > len(first) {
		text += fmt.Sprintf(" and %d more", n-len(first))
	}
	return text
}

func rows(n int) string {
	if n == 1 {
		return "1 row"
	}
	return fmt.Sprintf("%d rows", n)
}

func rowsAre(n int) string {
	if n == 1 {
		return "1 row is"
	}
	return fmt.Sprintf("%d rows are", n)
}
