package cli

import (
	"runtime/debug"
	"testing"
)

// TestVersionOf takes what go build and go install write into programs, with and without a repository's tags.
func TestVersionOf(t *testing.T) {
	t.Parallel()
	commit := debug.BuildSetting{Key: "vcs.revision", Value: "13423548b19be243a599c4ba80db024a2404896e"}
	dirty := debug.BuildSetting{Key: "vcs.modified", Value: "true"}
	for _, c := range []struct {
		main     string
		settings []debug.BuildSetting
		want     string
	}{
		{"(devel)", nil, release},
		{"", nil, release},
		{"v1.2.3", nil, "1.2.3"},
		{"v1.2.3", []debug.BuildSetting{commit}, "1.2.3"},
		{"v1.2.3-rc.1", []debug.BuildSetting{commit}, "1.2.3-rc.1"},
		{"v1.2.3+dirty", []debug.BuildSetting{commit, dirty}, release + "+13423548b.dirty"},
		{"v0.0.0-20261128233531-13423548b19b", nil, release + "+13423548b"},
		{"v0.1.1-0.20261128233531-13423548b19b+dirty", []debug.BuildSetting{commit, dirty}, release + "+13423548b.dirty"},
		{"v1.2.3-rc.1.0.20261128233531-13423548b19b", []debug.BuildSetting{commit}, release + "+13423548b"},
		{"(devel)", []debug.BuildSetting{commit}, release + "+13423548b"},
	} {
		info := &debug.BuildInfo{Main: debug.Module{Version: c.main}, Settings: c.settings}
		if got := versionOf(info); got != c.want {
			t.Errorf("%s, %v: %s, want %s", c.main, c.settings, got, c.want)
		}
	}
}
