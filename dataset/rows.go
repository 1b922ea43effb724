package dataset

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/lentil-lm/lentil/fault"
)

// Rows are the tokenised rows of a split. Each row is tokenised once, when it is first asked for or by Prepare.
type Rows struct {
	split *Split
	enc   *Encoder
	order []int // row of the split behind each index
	items []encoded
}

type encoded struct {
	once sync.Once
	item Item
	err  error
}

// Rows returns the rows of a split, to be tokenised with e.
func (e *Encoder) Rows(s *Split) (*Rows, error) {
	for _, p := range s.parts {
		if err := e.check(p.format); err != nil {
			return nil, fmt.Errorf("%s: %w", s.source(), err)
		}
	}
	r := &Rows{split: s, enc: e, items: make([]encoded, s.Len())}
	vain := s.vain
	for i := range s.Len() {
		if len(vain) > 0 && vain[0] == i {
			vain = vain[1:]
			continue
		}
		r.order = append(r.order, i)
	}
	if e.opt.CompatMLX { // mlx-lm sorts by "length", which for rows not yet tokenised is their number of keys
		slices.SortStableFunc(r.order, func(i, j int) int { return s.keys(i) - s.keys(j) })
	}
	return r, nil
}

// Len returns the number of rows, without pairs of equal or empty answers; after [Rows.Prepare] without all that have nothing to learn.
func (r *Rows) Len() int { return len(r.order) }

// Where names row i by file and line.
func (r *Rows) Where(i int) string { return r.split.Where(r.order[i]) }

// Item returns row i in tokens. Errors name file and line.
func (r *Rows) Item(i int) (Item, error) { return r.encode(r.order[i]) }

// encode tokenises a row of the split.
func (r *Rows) encode(i int) (Item, error) {
	e := &r.items[i]
	e.once.Do(func() {
		row, err := r.split.Row(i)
		if err == nil {
			if e.item, err = r.enc.Encode(row); err != nil {
				err = fmt.Errorf("%s: %w", r.split.Where(i), err)
			}
		}
		e.err = err
	})
	return e.item, e.err
}

// Prepare tokenises all rows on all cores, drops those without a loss token (except under CompatMLX) and reports.
// progress may be nil.
func (r *Rows) Prepare(ctx context.Context, progress func(done, total int)) (*Report, error) {
	if err := r.encodeAll(ctx, progress); err != nil {
		return nil, err
	}
	rep := &Report{Split: r.split.Name, limit: r.enc.opt.MaxSeqLength, keep: r.enc.opt.CompatMLX}
	for _, i := range r.split.vain {
		rep.addVain(r.split.Where(i))
	}
	var kept []int
	lengths := make([]int, 0, len(r.order))
	for _, i := range r.order {
		item := r.items[i].item
		lengths = append(lengths, len(item.IDs))
		if item.Rejected != nil {
			lengths = append(lengths, len(item.Rejected.IDs))
		}
		if rep.add(item, r.split.Where(i)) || rep.keep {
			kept = append(kept, i)
		}
	}
	r.order = kept
	rep.Rows = len(kept)
	slices.Sort(lengths)
	rep.count(lengths)
	rep.P50, rep.P95 = percentile(lengths, 50), percentile(lengths, 95)
	if len(kept) == 0 && rep.Vain > rep.NoLoss {
		return rep, fault.Of("%s: no row is left: chosen and rejected are equal, one of them is empty, or there is a vote on one answer, in %s (%s)", r.split.source(), rows(rep.Vain), listed(rep.vainAt, rep.Vain)).
			Try("Give pairs of a better and a worse answer.")
	}
	if len(lengths) > 0 && len(kept) == 0 {
		return rep, fault.Of("%s: no row has a token to learn", r.split.source()).Try("%v", rep.noLossRemedy())
	}
	return rep, nil
}

func percentile(sorted []int, p int) int {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)-1)*p/100]
}

func (r *Rows) encodeAll(ctx context.Context, progress func(done, total int)) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	var mu sync.Mutex // guards done and progress
	done := 0
	for range min(runtime.GOMAXPROCS(0), len(r.order)) {
		wg.Go(func() {
			for ctx.Err() == nil {
				k := int(next.Add(1)) - 1
				if k >= len(r.order) {
					return
				}
				r.encode(r.order[k])
				if progress != nil {
					mu.Lock()
					done++
					progress(done, len(r.order))
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	var faults []error
	wrong := 0
	for _, i := range r.order {
		if err := r.items[i].err; err != nil {
			if wrong++; wrong <= maxReported {
				faults = append(faults, err)
			}
		}
	}
	if wrong > maxReported {
		faults = append(faults, fmt.Errorf("%s: %d more rows cannot be encoded", r.split.source(), wrong-maxReported))
	}
	return errors.Join(faults...)
}
