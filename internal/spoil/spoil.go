// Package spoil breaks valid files in many ways, for tests of what reads them:
// an error is expected, or a file that is read nevertheless, but no panic and no
// memory out of proportion.
package spoil

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
)

// A Limit bounds what Each does.
type Limit struct {
	Places int    // in the file where something is cut or changed; 0 is 100. Short tests take a quarter of them
	Bytes  uint64 // that one attempt may allocate; 0 is 64 MiB
}

// Each cuts data at many places and changes bytes at as many, and gives each
// result to read. It fails the test when read panics or allocates too much. The
// test must not be parallel: all of the program's allocations count.
func Each(t *testing.T, data []byte, limit Limit, read func(t *testing.T, spoiled []byte)) {
	t.Helper()
	t.Setenv("LENTIL_TEST_SPOILS", "1") // which a parallel test may not do
	if limit.Places == 0 {
		limit.Places = 100
	}
	if testing.Short() {
		limit.Places = max(1, limit.Places/4)
	}
	if limit.Bytes == 0 {
		limit.Bytes = 64 << 20
	}
	for _, at := range places(len(data), limit.Places) {
		try(t, fmt.Sprintf("cut at byte %d of %d", at, len(data)), slices.Clone(data[:at]), limit.Bytes, read)
		for _, c := range changes {
			if at+c.width > len(data) {
				continue
			}
			spoiled := slices.Clone(data)
			for i := range c.width {
				spoiled[at+i] = c.of(spoiled[at+i])
			}
			try(t, fmt.Sprintf("%s at byte %d of %d", c.name, at, len(data)), spoiled, limit.Bytes, read)
		}
	}
	// The first 64 bytes are where most formats say how long the rest is.
	for at := range min(64, len(data)) {
		spoiled := slices.Clone(data)
		spoiled[at] ^= 0x80
		try(t, fmt.Sprintf("top bit of byte %d turned", at), spoiled, limit.Bytes, read)
	}
}

// changes are what may happen to bytes of a file.
var changes = []struct {
	name  string
	width int
	of    func(byte) byte
}{
	{"lowest bit turned", 1, func(b byte) byte { return b ^ 1 }},
	{"zero", 1, func(byte) byte { return 0 }},
	{"digit 9", 1, func(byte) byte { return '9' }},
	{"quotation mark", 1, func(byte) byte { return '"' }},
	{"minus sign", 1, func(byte) byte { return '-' }},
	{"8 bytes of ones", 8, func(byte) byte { return 0xff }},
	{"4 bytes of zeros", 4, func(byte) byte { return 0 }},
}

// places spreads at most n places evenly over a file of size bytes.
func places(size, n int) []int {
	n = min(n, size)
	out := make([]int, n)
	for i := range out {
		out[i] = i * size / n
	}
	return out
}

func try(t *testing.T, what string, spoiled []byte, limit uint64, read func(t *testing.T, spoiled []byte)) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("%s: panic: %v", what, p)
		}
	}()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	read(t, spoiled)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > limit {
		t.Errorf("%s: %d bytes allocated, expected at most %d", what, n, limit)
	}
}
