package generate

import "testing"

func TestStopper(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		stops   []string
		in      []string
		shown   []string // after each
		end     string
		stopped bool
	}{
		{"none", nil, []string{"a", "b"}, []string{"a", "b"}, "", false},
		{"held back", []string{"STOP"}, []string{"hello ST"}, []string{"hello "}, "ST", false},
		{"held back, then not", []string{"STOP"}, []string{"hello ST", "ART"}, []string{"hello ", "START"}, "", false},
		{"in pieces", []string{"STOP"}, []string{"a S", "TO", "Pb"}, []string{"a ", "", ""}, "", true},
		{"in the middle", []string{"STOP"}, []string{"a STOP b"}, []string{"a "}, "", true},
		{"first of several", []string{"yy", "x"}, []string{"a xyy"}, []string{"a "}, "", true},
		{"beginning twice", []string{"aab"}, []string{"aaa", "b"}, []string{"a", ""}, "", true},
		{"empty one", []string{""}, []string{"abc"}, []string{"abc"}, "", false},
		{"letters of several bytes", []string{"éé"}, []string{"né", "e"}, []string{"n", "ée"}, "", false},
		{"at the end", []string{"."}, []string{"end", "."}, []string{"end", ""}, "", true},
	} {
		s := stopper{stops: test.stops}
		stopped := false
		for i, text := range test.in {
			var out string
			if out, stopped = s.add(text); out != test.shown[i] {
				t.Errorf("%s: after %q it shows %q, want %q", test.name, test.in[:i+1], out, test.shown[i])
			}
		}
		if stopped != test.stopped {
			t.Errorf("%s: stopped is %v", test.name, stopped)
		}
		if out, _ := s.end(""); out != test.end {
			t.Errorf("%s: at the end it shows %q, want %q", test.name, out, test.end)
		}
	}
	s := stopper{stops: []string{"ab"}}
	s.add("xa")
	if out, stopped := s.end("bc"); out != "" || !stopped {
		t.Errorf("a stop string in the last text: %q, %v", out, stopped)
	}
}
