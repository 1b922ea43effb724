// Package pii finds what tells of persons in texts: mail addresses, telephone numbers, numbers of cards, accounts and
// social security, and addresses of computers. What has a check digit is checked, so that figures of a book stay.
package pii

import (
	"cmp"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// A Kind says what was found.
type Kind string

// The kinds.
const (
	Mail    Kind = "e-mail"
	Phone   Kind = "phone"
	Card    Kind = "card"
	Account Kind = "account" // IBAN
	Social  Kind = "social security number"
	Network Kind = "IP address"
)

// A Find is a place in a text.
type Find struct {
	Kind     Kind
	From, To int // bytes
}

type rule struct {
	kind  Kind
	re    *regexp.Regexp
	check func(string) bool // nil: what fits is one
}

// rules come in the order in which they claim a text.
var rules = []rule{
	{Mail, regexp.MustCompile(`(?i)\b[a-z0-9][a-z0-9._%+-]{0,63}@[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}\b`), nil},
	{Account, regexp.MustCompile(`\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b`), iban},
	{Card, regexp.MustCompile(`\b\d(?:[ -]?\d){12,18}\b`), luhn},
	{Social, regexp.MustCompile(`\b\d{3}-\d{2}-\d{4}\b`), social},
	{Network, regexp.MustCompile(`\b\d{1,3}(?:\.\d{1,3}){3}\b`), network},
	// With the code of a country, or in the American form. Bare digits are figures, not numbers to call.
	{Phone, regexp.MustCompile(`\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d(?:[ .-]?\d){6,12}\b`), nil},
	{Phone, regexp.MustCompile(`\(\d{3}\) ?\d{3}[-. ]\d{4}\b|\b\d{3}-\d{3}-\d{4}\b`), nil},
}

// In finds all that tells of persons, in the order of the text.
func In(text string) []Find {
	var found []Find
	for _, r := range rules {
		for _, at := range r.re.FindAllStringIndex(text, -1) {
			taken := slices.ContainsFunc(found, func(f Find) bool { return at[0] < f.To && f.From < at[1] })
			if !taken && (r.check == nil || r.check(text[at[0]:at[1]])) {
				found = append(found, Find{r.kind, at[0], at[1]})
			}
		}
	}
	slices.SortFunc(found, func(a, b Find) int { return cmp.Compare(a.From, b.From) })
	return found
}

// Mask puts the kind in brackets in place of each find.
func Mask(text string) (masked string, found []Find) {
	found = In(text)
	if len(found) == 0 {
		return text, nil
	}
	var b strings.Builder
	at := 0
	for _, f := range found {
		b.WriteString(text[at:f.From] + "[" + string(f.Kind) + "]")
		at = f.To
	}
	return b.String() + text[at:], found
}

func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
}

// luhn checks the last digit of a card's number (ISO/IEC 7812-1).
func luhn(s string) bool {
	s = digits(s)
	sum := 0
	for i := range len(s) {
		d := int(s[len(s)-1-i] - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	book := strings.HasPrefix(s, "978") || strings.HasPrefix(s, "979") // ISBN
	return sum%10 == 0 && strings.Trim(s, s[:1]) != "" && !(book && len(s) == 13)
}

// iban checks the check digits of an account (ISO 13616: the number, its first four signs at the end, is 1 modulo 97).
func iban(s string) bool {
	s = strings.ReplaceAll(s, " ", "")
	if len(s) < 15 || len(s) > 34 {
		return false
	}
	rest := 0
	for _, r := range s[4:] + s[:4] {
		if r >= 'A' {
			rest = (rest*100 + int(r-'A') + 10) % 97
		} else {
			rest = (rest*10 + int(r-'0')) % 97
		}
	}
	return rest == 1
}

// social leaves out what the Social Security Administration does not give out.
func social(s string) bool {
	return s[:3] != "000" && s[:3] != "666" && s[0] != '9' && s[4:6] != "00" && s[7:] != "0000"
}

// network takes addresses that may be someone's; numbers of versions and sections are mostly none.
func network(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.IsGlobalUnicast() && a.As4()[0] >= 10
}
