package mlxc

import (
	"slices"
	"testing"
)

func TestPlaces(t *testing.T) {
	for _, c := range []struct {
		system, program, homebrew string
		want                      []string
	}{
		{"darwin", "/apps/lentil", "", []string{"/apps/libmlxc.dylib", "/opt/homebrew/lib/libmlxc.dylib", "/usr/local/lib/libmlxc.dylib"}},
		{"darwin", "/apps/lentil", "/opt/homebrew", []string{"/apps/libmlxc.dylib", "/opt/homebrew/lib/libmlxc.dylib", "/usr/local/lib/libmlxc.dylib"}},
		{"darwin", "/apps/lentil", "/usr/local", []string{"/apps/libmlxc.dylib", "/usr/local/lib/libmlxc.dylib", "/opt/homebrew/lib/libmlxc.dylib"}},
		{"linux", "", "", []string{"/usr/local/lib/libmlxc.so"}},
	} {
		if got := places(c.system, c.program, c.homebrew); !slices.Equal(got, c.want) {
			t.Errorf("%s, %s, %q: %v, want %v", c.system, c.program, c.homebrew, got, c.want)
		}
	}
}
