package fault

import "strings"

// Choice refuses a value that is none of known. The remedy names one that is spelled
// much like it.
func Choice(setting Setting, value string, known ...string) error {
	expected := make([]string, len(known))
	for i, k := range known {
		if k == value {
			return nil
		}
		expected[i] = found(k)
	}
	list := strings.Join(expected, ", ")
	if last := len(expected) - 1; last > 0 {
		list = strings.Join(expected[:last], ", ") + " or " + expected[last]
	}
	m := Value(setting, value, list)
	if near := Nearest(value, known); near != "" {
		m.Try("Did you mean: %v %s", setting, near)
	}
	return m
}

// Nearest gives the known word that is closest to a mistyped one, or "" if none is close.
func Nearest(word string, known []string) string {
	best, least := "", 1+max(1, len(word)/3)
	for _, k := range known {
		if d := distance(word, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of neighbours between two words.
func distance(a, b string) int {
	prev2, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], prev2[j-2]+1)
			}
		}
		prev2, prev, row = prev, row, prev2
	}
	return prev[len(b)]
}
