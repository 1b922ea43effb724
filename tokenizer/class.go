package tokenizer

import (
	"sync"
	"unicode"
	"unicode/utf8"
)

// Character classes of the split patterns, as bits.
const (
	letter  = 1 << iota // \p{L}
	number              // \p{N}
	space               // \s: Unicode White_Space
	newline             // \r or \n
	mark                // \p{M}
	upper               // \p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}
	lower               // \p{Ll}\p{Lm}\p{Lo}\p{M}
)

var asciiClass = func() (table [utf8.RuneSelf]uint8) {
	for r := range table {
		table[r] = classify(rune(r))
	}
	return table
}()

// bmpClass holds the classes of the characters below U+10000. It is made at the first
// character beyond ASCII.
var bmpClass = sync.OnceValue(func() *[0x10000]uint8 {
	var table [0x10000]uint8
	for _, c := range classTables {
		for _, r := range c.table.R16 {
			for x := int(r.Lo); x <= int(r.Hi); x += int(r.Stride) {
				table[x] |= c.bits
			}
		}
	}
	table['\r'] |= newline
	table['\n'] |= newline
	return &table
})

var classTables = []struct {
	table *unicode.RangeTable
	bits  uint8
}{
	{unicode.Lu, letter | upper},
	{unicode.Lt, letter | upper},
	{unicode.Ll, letter | lower},
	{unicode.Lm, letter | upper | lower},
	{unicode.Lo, letter | upper | lower},
	{unicode.M, mark | upper | lower},
	{unicode.N, number},
	{unicode.White_Space, space},
}

// classify is the definition of the classes.
func classify(r rune) (bits uint8) {
	for _, c := range classTables {
		if unicode.Is(c.table, r) {
			bits |= c.bits
		}
	}
	if r == '\r' || r == '\n' {
		bits |= newline
	}
	return bits
}

// classAt returns the classes and the length of the character at s[i:], or
// zeros at the end of s.
func classAt(s string, i int) (bits uint8, size int) {
	if i >= len(s) {
		return 0, 0
	}
	if b := s[i]; b < utf8.RuneSelf {
		return asciiClass[b], 1
	}
	r, n := utf8.DecodeRuneInString(s[i:])
	if r < 0x10000 {
		return bmpClass()[r], n
	}
	return classify(r), n
}

// skip returns the end of the run of characters at s[i:] that have any of the
// classes in bits.
func skip(s string, i int, bits uint8) int {
	for {
		c, n := classAt(s, i)
		if n == 0 || c&bits == 0 {
			return i
		}
		i += n
	}
}

// skipOther returns the end of the run of characters at s[i:] that have none
// of the classes in bits.
func skipOther(s string, i int, bits uint8) int {
	for {
		c, n := classAt(s, i)
		if n == 0 || c&bits != 0 {
			return i
		}
		i += n
	}
}
