package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// Byte-level vocabularies write each byte as one printable character, as GPT-2 does.
// Printable Latin-1 bytes stand for themselves; the other 68 are U+0100 and following, in
// byte order. A space is "Ġ", U+0120.
const (
	byteCharsEnd = 0x100 + 68 // one past the largest character used
	notAByte     = -1
)

var (
	byteChars [256]string         // byte -> its character
	charBytes [byteCharsEnd]int16 // character -> its byte, or notAByte
)

func init() {
	for i := range charBytes {
		charBytes[i] = notAByte
	}
	next := rune(0x100)
	for b := range 256 {
		r := rune(b)
		printable := b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE
		if !printable {
			r = next
			next++
		}
		byteChars[b] = string(r)
		charBytes[r] = int16(b)
	}
}

// toByteLevel writes the bytes of s as byte-level characters.
func toByteLevel(s string) string {
	var b strings.Builder
	b.Grow(2 * len(s))
	for i := range len(s) {
		b.WriteString(byteChars[s[i]])
	}
	return b.String()
}

// appendFromByteLevel appends the bytes that a byte-level token stands for.
// A token with any other character in it (an added token, say) stands for itself.
func appendFromByteLevel(dst []byte, token string) []byte {
	start := len(dst)
	for i := 0; i < len(token); {
		r, n := rune(token[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(token[i:])
		}
		if r >= byteCharsEnd || charBytes[r] == notAByte {
			return append(dst[:start], token...)
		}
		dst = append(dst, byte(charBytes[r]))
		i += n
	}
	return dst
}
