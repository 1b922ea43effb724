package dataset

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// A rowSlice is some rows of a split, in the notation of the Python package datasets: "train", "train[:1000]",
// "train[-10%:]".
type rowSlice struct {
	split    string
	from, to *int // nil: the first, the last
	percent  bool
	whole    bool // percentages are of whole hundreds: "(pct1_dropremainder)"
}

var slicePattern = regexp.MustCompile(`^(\w+(?:\.\w+)*)(?:\[(?:(-?[0-9][0-9_]*)(%)?)?:(?:(-?[0-9][0-9_]*)(%)?)?\])?(?:\((closest|pct1_dropremainder)\))?$`)

// parseSlices reads slices with plus signs between them.
func parseSlices(text string) ([]rowSlice, error) {
	var out []rowSlice
	for part := range strings.SplitSeq(text, "+") {
		m := slicePattern.FindStringSubmatch(strings.TrimSpace(part))
		if m == nil {
			return nil, fmt.Errorf("%q is not understood; expected the name of a split, as in train, train[:1000], train[80%%:] or train[:10]+test", text)
		}
		s := rowSlice{split: m[1], percent: m[3] != "" || m[5] != "", whole: m[6] == "pct1_dropremainder"}
		for i, at := range map[int]**int{2: &s.from, 4: &s.to} {
			if m[i] == "" {
				continue
			}
			n, err := strconv.Atoi(strings.ReplaceAll(m[i], "_", ""))
			if err != nil || s.percent && (n > 100 || n < -100) {
				return nil, fmt.Errorf("%q: %s is too large", text, m[i])
			}
			*at = &n
		}
		out = append(out, s)
	}
	return out, nil
}

// bounds gives the first row and the one after the last, of n.
func (s rowSlice) bounds(n int) (from, to int, err error) {
	if s.percent && s.whole && n < 100 {
		return 0, 0, fmt.Errorf("%s has less than 100 rows, of which (pct1_dropremainder) takes none", s.split)
	}
	at := func(bound *int, absent int) int {
		if bound == nil {
			return absent
		}
		k := *bound
		switch {
		case s.percent && s.whole:
			k *= n / 100
		case s.percent:
			k = int(math.RoundToEven(float64(k) * float64(n) / 100))
		}
		if k < 0 {
			k = max(n+k, 0)
		}
		return min(k, n)
	}
	from, to = at(s.from, 0), at(s.to, n)
	return from, max(from, to), nil
}

// SplitsIn gives the names of the splits that rows such as "train[:10%]+test" are of.
func SplitsIn(rows string) ([]string, error) {
	if rows == "" {
		return nil, nil
	}
	slices, err := parseSlices(rows)
	var names []string
	for _, s := range slices {
		names = append(names, s.split)
	}
	return names, err
}
