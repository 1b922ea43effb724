package eval

import (
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/train"
)

// Windows cuts a dataset into rows of length tokens as mlx-lm's perplexity does: it
// takes the rows in the order of NumPy's permutation for seed, joins them, and cuts
// the tokens without regard to where rows end. It returns at most samples windows,
// or all when samples is 0 or less. A last part that does not fill a window is left out.
func Windows(rows train.Examples, length, samples int, seed uint32) ([]train.Example, error) {
	var out []train.Example
	var ids []int32
	for _, i := range train.NumpyPermutation(seed, rows.Len()) {
		row, err := rows.Example(i)
		if err != nil {
			return nil, err
		}
		for ids = append(ids, row.IDs...); len(ids) >= length; ids = ids[length:] {
			if out = append(out, train.Example{IDs: ids[:length:length], Loss: [][2]int{{1, length}}}); len(out) == samples {
				return out, nil
			}
		}
	}
	if len(out) == 0 {
		return nil, fault.At("sequence_length", "the data has %d tokens, fewer than one sample of %d", len(ids), length).Try("Give a smaller one, or more data.")
	}
	return out, nil
}

// Rows takes rows in the same order and cuts each to its first length tokens. It
// leaves out rows without a token to predict; cut counts those that were shortened.
func Rows(rows train.Examples, length, samples int, seed uint32) (out []train.Example, cut int, err error) {
	for _, i := range train.NumpyPermutation(seed, rows.Len()) {
		row, err := rows.Example(i)
		if err != nil {
			return nil, 0, err
		}
		long := len(row.IDs) > length
		if long {
			row = shorten(row, length)
		}
		if countTargets(row) == 0 {
			continue
		}
		if long {
			cut++
		}
		if out = append(out, row); len(out) == samples {
			break
		}
	}
	if len(out) == 0 {
		return nil, 0, fault.At("sequence_length", "none of the %d rows has a token to predict in its first %d", rows.Len(), length).
			Try("Give a larger one, or leave %v out.", fault.Setting("mask_prompt"))
	}
	return out, cut, nil
}

// shorten cuts a row to its first n tokens.
func shorten(row train.Example, n int) train.Example {
	short := train.Example{IDs: row.IDs[:n]}
	for _, span := range row.Loss {
		if span[0] < n {
			short.Loss = append(short.Loss, [2]int{span[0], min(span[1], n)})
		}
	}
	return short
}

// countTargets counts the tokens of a row that are to be predicted.
func countTargets(row train.Example) int {
	n := 0
	for _, span := range row.Loss {
		n += max(0, min(span[1], len(row.IDs))-max(span[0], 1))
	}
	return n
}
