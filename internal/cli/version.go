package cli

import (
	"fmt"
	"regexp"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// release is the version that this source tree becomes. A build of a tagged version says that one.
const release = "0.1.0-dev"

// tagged is a version that a tag gives: v1.2.3 or v1.2.3-rc.1.
var tagged = regexp.MustCompile(`^v(\d+\.\d+\.\d+(-[0-9A-Za-z.]+)?)$`)

// untagged is a version that Go makes up for a commit without a tag; it ends in date and commit.
var untagged = regexp.MustCompile(`[-.]\d{14}-([0-9a-f]{12})(\+dirty)?$`)

// Version gives the version of the program, with the commit it was built from where known.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return release
	}
	return versionOf(info)
}

func versionOf(info *debug.BuildInfo) string {
	made := untagged.FindStringSubmatch(info.Main.Version)
	if tag := tagged.FindStringSubmatch(info.Main.Version); tag != nil && made == nil {
		return tag[1]
	}
	var commit string
	if made != nil {
		commit = made[1]
	}
	dirty := false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value
		case "vcs.modified":
			dirty = s.Value == "true"
		}
	}
	version := release
	if commit != "" {
		version += "+" + commit[:min(len(commit), 9)]
	}
	if dirty {
		version += ".dirty"
	}
	return version
}

func newVersion(streams Streams) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Long:    "Print the version of Lentil, the Go version it was built with and the system it was built for.",
		Example: "  lentil version\n  lentil --version",
		GroupID: groupInspect,
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(streams.Out, "lentil %s\n%s %s/%s\n", Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
