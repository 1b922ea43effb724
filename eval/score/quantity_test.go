package score

import (
	"fmt"
	"strings"
	"testing"
)

// show writes a figure in the base of its unit.
func show(q quantity) string {
	s := fmt.Sprintf("%.6g", q.lo*q.unit.factor+q.unit.offset)
	if q.hi != q.lo {
		s += fmt.Sprintf("..%.6g", q.hi*q.unit.factor+q.unit.offset)
	}
	if q.unit.dim == "" {
		s = fmt.Sprintf("%.6g", q.lo)
		if q.hi != q.lo {
			s += fmt.Sprintf("..%.6g", q.hi)
		}
	}
	return strings.TrimSpace([]string{"", "<", "<=", ">", ">="}[q.bound] + s + " " + q.unit.dim)
}

func TestQuantities(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, want string }{
		{"9 g, 1,000 mg and 1.5kg", "9 mass|1 mass|1500 mass"},
		{"0,5 l; 1.000.000 l; 1\u202f000 g", "500 volume|1e+09 volume|1000 mass"},
		{"½ cup, 1½ cups, 1 1/2 tsp, 3/4 tsp", "120 volume|360 volume|7.5 volume|3.75 volume"},
		{"one hundred and five grams", "105 mass"},
		{"twenty-five, two thousand three hundred", "25|2300"},
		{"half a litre, a quarter of a litre, two thirds", "500 volume|250 volume|0.666667"},
		{"one and a half litres and a dozen eggs", "1500 volume|12"},
		{"one point five litres", "1500 volume"},
		{"3-5 mg, 3 to 5 mg, from 3 mg to 5 mg, between 3 and 5 mg", "0.003..0.005 mass|0.003..0.005 mass|0.003..0.005 mass|0.003..0.005 mass"},
		{"-18 °C, minus 18 degrees Celsius, 212 °F", "-18 temperature|-18 temperature|100 temperature"},
		{"less than 5 g, no less than 5 g, 5 g or more, up to 5 g", "<5 mass|>=5 mass|>=5 mass|<=5 mass"},
		{"30 % or thirty percent", "30 share|30 share"},
		{"$5.50 and £3", "5.5 $|3 £"},
		{"9 ± 1 g", "9 mass"},
		{"the 2nd of 1990s", ""},
		{"2 million; 1.5e3 kJ", "2e+06|358.509 energy"},
		{"a 30-minute walk", "1800 time"},
		{"100 ml/day", "100 volume"},
		{"\\(9\\,\\text{g}\\)", "9 mass"},
		{"One of them, a day", "1"},
		{"12 fl oz, 2 fluid ounces", "354.882 volume|59.1471 volume"},
	} {
		var got []string
		for _, q := range quantities(tt.text) {
			got = append(got, show(q))
		}
		if g := strings.Join(got, "|"); g != tt.want {
			t.Errorf("%q: %s, want %s", tt.text, g, tt.want)
		}
	}
}

func TestEquals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		answer, fact string
		want         bool
	}{
		{"0.32 oz", "9 g", true}, {"0.3 oz", "9 g", false}, {"9.1 g", "9 g", false}, {"9.00 g", "9 g", true},
		{"70 g a week", "10 g a day", true}, {"10 g a week", "10 g a day", false}, {"10 g", "10 g a day", true}, {"0.8 g per kg", "0.8 g/kg", true},
		{"5 portions", "5 portions", true}, {"5 a day", "5 portions", true}, {"5 apples", "5 portions", false}, {"five", "5", true},
		{"12 months", "1 year", true}, {"52 weeks", "1 year", false}, {"200 degrees", "200 °C", true}, {"7 days", "7", true}, {"8", "7", false},
	} {
		f := Fact{Figure: tt.fact}.target()
		got := false
		for _, q := range quantities(tt.answer) {
			got = got || f.matches(q)
		}
		if got != tt.want {
			t.Errorf("%q for %q: %v", tt.answer, tt.fact, got)
		}
	}
}

// TestAskedUnit: a question that names the unit is answered by a bare number.
func TestAskedUnit(t *testing.T) {
	t.Parallel()
	q := Question{Question: "How many minutes are in an hour?", Facts: []Fact{{Figure: "60 minutes"}}}
	for answer, right := range map[string]bool{"60": true, "Sixty.": true, "60 seconds": false, "An hour has 60 minutes.": true, "61": false} {
		if m := q.Mark(answer, ""); m.Right != right {
			t.Errorf("%q: %+v", answer, m)
		}
	}
}

func TestMadeUp(t *testing.T) {
	t.Parallel()
	q := Question{Question: "How much iron is in 100 g of tofu?", Answer: "2.7 mg.", Kind: Trained}
	for answer, want := range map[string]string{
		"100 g of tofu have 2.7 mg of iron.":                        "",
		"2.7 mg, of which 15 % are taken up, and 350 mg of calcium": "15 %|350 mg",
		"1. Tofu has 2.7 mg.\n2. It is one of 3 soy foods.":         "",
		"2,700 µg.": "",
	} {
		if got := strings.Join(q.Mark(answer, "").MadeUp, "|"); got != want {
			t.Errorf("%q: %q, want %q", answer, got, want)
		}
	}
	if m := q.Mark("2.7 mg, and 350 mg of calcium", "Tofu: iron 2.7 mg, calcium 350 mg"); len(m.MadeUp) > 0 {
		t.Errorf("figures of the passage are made up: %v", m.MadeUp)
	}
}

func FuzzMark(f *testing.F) {
	for _, set := range labelled {
		for _, a := range set.answers {
			f.Add(set.q.Question, a[1:], set.q.Answer)
		}
	}
	f.Fuzz(func(t *testing.T, question, answer, reference string) {
		q := Question{Question: question, Answer: reference}
		q.Mark(answer, "")
		for _, x := range quantities(answer) {
			if x.from < 0 || x.to < x.from || x.text == "" {
				t.Errorf("%q: %+v", answer, x)
			}
		}
	})
}
