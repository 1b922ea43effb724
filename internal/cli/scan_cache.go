package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/hub"
)

func newScanCache(streams Streams) *cobra.Command {
	var dir, jsonPath string
	var revisions bool
	cmd := &cobra.Command{
		Use:   "scan-cache",
		Short: "List the models and data sets in the cache",
		Long: `List the repositories in the cache that Lentil shares with the Hugging Face tools,
with their sizes on the disk.`,
		Example: "  lentil scan-cache\n  lentil scan-cache --revisions",
		GroupID: groupInspect,
		Args:    noArguments,
	}
	group(cmd, "Flags", func(f *pflag.FlagSet) {
		f.BoolVar(&revisions, "revisions", false, "list each revision with its commit")
		f.StringVar(&dir, "dir", "", "`folder` of the cache; default: HF_HUB_CACHE, or hub in HF_HOME")
		f.StringVar(&jsonPath, "json", "", "also write the list to this `file`")
	})
	cmd.RunE = func(*cobra.Command, []string) error {
		cache, err := scanCache(dir)
		if err != nil {
			return err
		}
		if revisions {
			io.WriteString(streams.Out, revisionTable(cache))
		} else {
			io.WriteString(streams.Out, repoTable(cache))
		}
		fmt.Fprintf(streams.Out, "\n%d repositories, %s on the disk in %s\n", len(cache.Repos), hubSize(cache.Bytes), cache.Dir)
		if n := len(cache.Incomplete); n > 0 {
			fmt.Fprintf(streams.Out, "%d files are not complete: their downloads are under way, or go on when run again.\n", n)
		}
		for _, w := range cache.Warnings {
			fmt.Fprintf(streams.Err, "Left out: %v\n", w)
		}
		return writeFigures(jsonPath, cacheFigures(cache))
	}
	return cmd
}

// scanCache scans the cache in dir, or that of the environment, which is empty where it is not there yet.
func scanCache(dir string) (hub.Cache, error) {
	given := dir != ""
	if !given {
		cfg, err := hub.FromEnv()
		if err != nil {
			return hub.Cache{}, fault.Mark(err)
		}
		dir = cfg.Cache
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return hub.Cache{}, err
	}
	cache, err := hub.Scan(dir)
	if errors.Is(err, fs.ErrNotExist) && !given {
		return hub.Cache{Dir: dir}, nil
	}
	return cache, err
}

// numberOfFiles heads the only column of numbers.
const numberOfFiles = "NB FILES"

func repoTable(c hub.Cache) string {
	rows := [][]string{{"REPO ID", "REPO TYPE", "SIZE ON DISK", numberOfFiles, "LAST_ACCESSED", "LAST_MODIFIED", "REFS", "LOCAL PATH"}}
	for _, r := range c.Repos {
		rows = append(rows, []string{
			r.Repo.ID, string(r.Repo.Type), fmt.Sprintf("%12s", hubSize(r.Bytes)), fmt.Sprint(r.Files),
			timeSince(r.LastAccess), timeSince(r.LastChange), strings.Join(r.Refs(), ", "), r.Path,
		})
	}
	return table(rows)
}

func revisionTable(c hub.Cache) string {
	rows := [][]string{{"REPO ID", "REPO TYPE", "REVISION", "SIZE ON DISK", numberOfFiles, "LAST_MODIFIED", "REFS", "LOCAL PATH"}}
	for _, r := range c.Repos {
		for _, rev := range r.Revisions {
			rows = append(rows, []string{
				r.Repo.ID, string(r.Repo.Type), rev.Commit, fmt.Sprintf("%12s", hubSize(rev.Bytes)), fmt.Sprint(len(rev.Files)),
				timeSince(rev.LastChange), strings.Join(rev.Refs, ", "), rev.Path,
			})
		}
	}
	return table(rows)
}

func cacheFigures(c hub.Cache) any {
	type revision struct {
		Commit string   `json:"commit"`
		Refs   []string `json:"refs"`
		Bytes  int64    `json:"bytes"`
		Files  int      `json:"files"`
		Path   string   `json:"path"`
	}
	type repo struct {
		ID        string     `json:"id"`
		Type      string     `json:"type"`
		Bytes     int64      `json:"bytes"`
		Files     int        `json:"files"`
		Path      string     `json:"path"`
		Revisions []revision `json:"revisions"`
	}
	repos := []repo{}
	for _, r := range c.Repos {
		out := repo{r.Repo.ID, string(r.Repo.Type), r.Bytes, r.Files, r.Path, nil}
		for _, rev := range r.Revisions {
			out.Revisions = append(out.Revisions, revision{rev.Commit, rev.Refs, rev.Bytes, len(rev.Files), rev.Path})
		}
		repos = append(repos, out)
	}
	return map[string]any{"path": c.Dir, "bytes": c.Bytes, "repos": repos, "incomplete": c.Incomplete}
}

// table lays rows out as mlx-lm does: columns padded to their widest cell and a space after each, numbers of
// files to the right, the head (the first row) underlined.
func table(rows [][]string) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	line := make([]string, len(widths))
	for i, w := range widths {
		line[i] = strings.Repeat("-", w)
	}
	var b strings.Builder
	writeRow(&b, rows[0], widths)
	writeRow(&b, line, widths)
	for _, row := range rows[1:] {
		if i := slices.Index(rows[0], numberOfFiles); i >= 0 {
			row[i] = fmt.Sprintf("%*s", widths[i], row[i])
		}
		writeRow(&b, row, widths)
	}
	return b.String()
}

func writeRow(b *strings.Builder, row []string, widths []int) {
	for i, cell := range row {
		fmt.Fprintf(b, "%-*s ", widths[i], cell)
	}
	b.WriteString("\n")
}

// hubSize writes a size as the Hugging Face tools do: "1.2G", in powers of ten.
func hubSize(n int64) string {
	f := float64(n)
	for _, unit := range []string{"", "K", "M", "G", "T", "P", "E"} {
		if f < 1000 {
			return fmt.Sprintf("%.1f%s", f, unit)
		}
		f /= 1000
	}
	return fmt.Sprintf("%.1fZ", f)
}

// timeSince writes how long ago something was as the Hugging Face tools do: "2 weeks ago".
func timeSince(t time.Time) string {
	ago := time.Since(t).Seconds()
	if ago < 20 {
		return "a few seconds ago"
	}
	steps := []struct {
		name    string
		seconds float64
		most    float64
	}{
		{"second", 1, 59}, {"minute", 60, 59}, {"hour", 3600, 23}, {"day", 86400, 6},
		{"week", 7 * 86400, 6}, {"month", 30 * 86400, 11}, {"year", 365 * 86400, math.Inf(1)},
	}
	for _, s := range steps {
		if n := math.RoundToEven(ago / s.seconds); n <= s.most {
			if n > 1 {
				s.name += "s"
			}
			return fmt.Sprintf("%.0f %s ago", n, s.name)
		}
	}
	return ""
}
