package cstring

import (
	"testing"
	"unsafe"
)

func TestText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s, want string
		most    int
	}{
		{"", "", 8}, {"lentil", "lentil", 8}, {"lentil", "lentil", 6}, {"lentil", "len", 3}, {"len\x00til", "len", 8}, {"Bohnen für ☺", "Bohnen für ☺", 99},
	} {
		if got := Text(New(c.s), c.most); got != c.want {
			t.Errorf("%d bytes of %q are %q, want %q", c.most, c.s, got, c.want)
		}
	}
	if got := Text(nil, 8); got != "" {
		t.Errorf("no string is %q", got)
	}
	if end := *(*byte)(unsafe.Add(unsafe.Pointer(New("lentil")), 6)); end != 0 {
		t.Errorf("a string ends in %d", end)
	}
}
