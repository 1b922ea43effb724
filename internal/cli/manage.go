package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/hub"
)

func newManage(streams Streams) *cobra.Command {
	var scan, remove bool
	var pattern string
	cmd := &cobra.Command{
		Use:   "manage (--scan | --delete)",
		Short: "List or delete cached models by name, as mlx-lm does",
		Long: `List or delete the repositories in the cache whose name contains a pattern, with
mlx-lm's flags and output. lentil scan-cache and lentil cache delete can do more.`,
		Example: "  lentil manage --scan\n  lentil manage --delete --pattern Qwen3-0.6B",
		GroupID: groupInspect,
		Args:    noArguments,
	}
	group(cmd, "Flags", func(f *pflag.FlagSet) {
		f.BoolVar(&scan, "scan", false, "list the repositories")
		f.BoolVar(&remove, "delete", false, "delete them, after a question")
		f.StringVar(&pattern, "pattern", "mlx", "part of the repository's `name`, in the same case")
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !scan && !remove {
			return fault.Of("nothing to do").Try("Give --scan or --delete.")
		}
		if scan {
			if err := manageScan(streams, pattern); err != nil {
				return err
			}
		}
		if remove {
			return manageDelete(streams, pattern)
		}
		return nil
	}
	return cmd
}

func manageScan(streams Streams, pattern string) error {
	fmt.Fprintf(streams.Out, "Scanning Hugging Face cache for models with pattern \"%s\".\n", pattern)
	_, repos, err := cachedRepos(pattern)
	if err != nil {
		return err
	}
	rows := [][]string{{"REPO ID", "REPO TYPE", "SIZE ON DISK", numberOfFiles, "LAST_ACCESSED", "LAST_MODIFIED", "LOCAL PATH"}}
	for _, r := range repos {
		rows = append(rows, []string{
			r.Repo.ID, string(r.Repo.Type), fmt.Sprintf("%12s", hubSize(r.Bytes)), fmt.Sprint(r.Files), timeSince(r.LastAccess), timeSince(r.LastChange), r.Path,
		})
	}
	_, err = io.WriteString(streams.Out, table(rows))
	return err
}

// cachedRepos scans the cache for repositories whose name contains the pattern.
func cachedRepos(pattern string) (hub.Cache, []hub.CachedRepo, error) {
	cache, err := scanCache("")
	var repos []hub.CachedRepo
	for _, r := range cache.Repos {
		if strings.Contains(r.Repo.ID, pattern) {
			repos = append(repos, r)
		}
	}
	return cache, repos, err
}

func manageDelete(streams Streams, pattern string) error {
	out := streams.Out
	fmt.Fprintf(out, "Deleting models matching pattern \"%s\"\n", pattern)
	cache, repos, err := cachedRepos(pattern)
	if err != nil {
		return err
	}
	if len(repos) == 0 {
		fmt.Fprintf(out, "No models found matching pattern \"%s\"\n", pattern)
		return nil
	}
	rows := [][]string{{"REPO ID", "SIZE", "LOCAL PATH"}}
	for _, r := range repos {
		rows = append(rows, []string{r.Repo.ID, hubSize(r.Bytes), r.Path})
	}
	fmt.Fprintf(out, "\nFound the following models:\n%s", table(rows))
	if !confirm(streams, "\nAre you sure you want to delete these models?") {
		fmt.Fprintln(out, "\nDeletion cancelled - no changes made.")
		return nil
	}
	for _, r := range repos {
		fmt.Fprintf(out, "\nDeleting %s...\n", r.Repo.ID)
		plan := cache.Delete(func(repo hub.CachedRepo, _ hub.CachedRevision) bool { return repo.Path == r.Path })
		if err := plan.Run(); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "\nModel(s) deleted successfully.")
	return nil
}
