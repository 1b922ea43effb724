package tune

import (
	"context"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/lentil-lm/lentil/dataset"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/train"
)

// replaySplit is the name of the rows of Recipe.Replay.
const replaySplit = "replay"

// mostReplayed bounds the share of replayed rows: the number of rows goes to infinity as the share goes to 1.
const mostReplayed = 0.99

// replay reads Recipe.Replay: the file, and the share of all rows that its rows are to have.
func (r *Recipe) replay() (path string, share float64, err error) {
	at := strings.LastIndexByte(r.Replay, ':')
	if at < 0 {
		return "", 0, fault.Given("replay", r.Replay, "expected FILE:SHARE").Try("For a fifth of all rows: %s:0.2", r.Replay)
	}
	path, text := r.Replay[:at], r.Replay[at+1:]
	number, isPercent := strings.CutSuffix(text, "%")
	share, err = strconv.ParseFloat(strings.TrimSpace(number), 64)
	if isPercent {
		share /= 100
	}
	if err != nil || !(share > 0 && share <= mostReplayed) {
		return "", 0, fault.Given("replay", r.Replay, "the share is %q, expected a number between 0 and %g", text, mostReplayed).Try("For a fifth of all rows: %s:0.2", path)
	}
	return path, share, nil
}

// checkReplay refuses what cannot be replayed.
func (r *Recipe) checkReplay() error {
	if r.Replay == "" {
		return nil
	}
	if r.pairs() || r.compatMLX() {
		return fault.Of("%v goes with single answers under Lentil's own rules, not with %v %s or %v", fault.Setting("replay"), fault.Setting("train_mode"), r.TrainMode, fault.Setting("compat")).
			Try("Leave it out.")
	}
	_, _, err := r.replay()
	return err
}

// openReplay loads the rows to replay.
func (j *Job) openReplay() error {
	if j.Recipe.Replay == "" || !j.Recipe.Train {
		return nil
	}
	path, _, err := j.Recipe.replay()
	if err != nil {
		return err
	}
	splits, err := dataset.Load(path, dataset.Options{})
	if err != nil {
		return fault.At("replay", "%w", err)
	}
	if splits.Train.Len() == 0 {
		return fault.Given("replay", j.Recipe.Replay, "%s has no rows", path)
	}
	j.replay = splits.Train
	j.replay.Name = replaySplit
	return nil
}

// examples are the rows of the training set, with those that are replayed among them, and the lengths of all in tokens.
func (j *Job) examples(ctx context.Context, rows *dataset.Rows) (train.Examples, []int, error) {
	lengths, err := rowLengths(rows)
	if err != nil || j.replay == nil {
		if j.Recipe.KL > 0 {
			return mixed{rows: train.FromRows(rows), hold: true}, lengths, err
		}
		return train.FromRows(rows), lengths, err
	}
	path, share, err := j.Recipe.replay()
	if err != nil {
		return nil, nil, err
	}
	again, err := j.Rows(ctx, j.replay)
	if err != nil {
		return nil, nil, err
	}
	m := mixed{rows: train.FromRows(rows), again: train.FromRows(again), hold: j.Recipe.KL > 0}
	m.extra = max(1, int(math.Round(share/(1-share)*float64(m.rows.Len()))))
	of, err := rowLengths(again)
	if err != nil {
		return nil, nil, err
	}
	j.options.say("%d of %d rows are replayed from %s (%d there).", m.extra, m.Len(), filepath.Base(path), again.Len())
	return m, merge(lengths, of), nil
}

// merge gives the lengths of both kinds of rows, sorted, which a plan is made with. Each replayed row counts once.
func merge(a, b []int) []int {
	out := make([]int, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0] <= b[0] {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// mixed are rows followed by extra ones of another kind, over and over. The order of a run shuffles them.
type mixed struct {
	rows, again train.Examples
	extra       int
	hold        bool // what is not learnt is held, and of replayed rows all
}

// Len is the number of all.
func (m mixed) Len() int { return m.rows.Len() + m.extra }

// Example returns example i.
func (m mixed) Example(i int) (train.Example, error) {
	n := m.rows.Len()
	var e train.Example
	var err error
	if i >= n {
		e, err = m.again.Example((i - n) % m.again.Len())
	} else {
		e, err = m.rows.Example(i)
	}
	if err == nil && m.hold {
		e = train.Held(e, i < n)
	}
	return e, err
}

// Where names example i.
func (m mixed) Where(i int) string {
	from, at := m.rows, i
	if n := m.rows.Len(); i >= n {
		from, at = m.again, (i-n)%m.again.Len()
	}
	if w, ok := from.(interface{ Where(i int) string }); ok {
		return w.Where(at)
	}
	return "row " + strconv.Itoa(i)
}
