package cli

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/hub"
)

func newCache(streams Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "cache",
		Short:   "Make room in the cache of models",
		Long:    "Make room in the cache that Lentil shares with the Hugging Face tools. To list it: lentil scan-cache",
		Example: "  lentil cache delete org/model\n  lentil cache delete org/model@v1.0 --yes",
		GroupID: groupInspect,
	}
	cmd.AddCommand(newCacheDelete(streams))
	return cmd
}

func newCacheDelete(streams Streams) *cobra.Command {
	var dir string
	var yes, dryRun bool
	cmd := &cobra.Command{
		Use:   "delete (REPO | REPO@REVISION | COMMIT)...",
		Short: "Delete repositories, or revisions of them",
		Long: `Delete repositories, or single revisions of them, from the cache. Contents that a
revision shares with others stay.`,
		Example: `  lentil cache delete org/model
  lentil cache delete datasets/org/answers org/model@main
  lentil cache delete 0123456789abcdef0123456789abcdef01234567 --yes`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fault.Of("tell what to delete: a repository or the commit of a revision").Try("See: lentil scan-cache --revisions")
			}
			return nil
		},
	}
	group(cmd, "Flags", func(f *pflag.FlagSet) {
		f.BoolVarP(&yes, "yes", "y", false, "do not ask")
		f.BoolVar(&dryRun, "dry-run", false, "only tell what would be deleted")
		f.StringVar(&dir, "dir", "", "`folder` of the cache; default: HF_HUB_CACHE, or hub in HF_HOME")
	})
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		cache, err := scanCache(dir)
		if err != nil {
			return err
		}
		return deleteFromCache(streams, cache, args, yes, dryRun)
	}
	return cmd
}

func deleteFromCache(streams Streams, cache hub.Cache, names []string, yes, dryRun bool) error {
	rows := [][]string{{"REPO ID", "REVISION", "REFS", "SIZE"}}
	chosen := map[string]bool{} // by path of the snapshot
	for _, name := range names {
		found := 0
		for _, r := range cache.Repos {
			for _, rev := range r.Revisions {
				if !isNamed(r, rev, name) {
					continue
				}
				found++
				if !chosen[rev.Path] {
					chosen[rev.Path] = true
					rows = append(rows, []string{r.Repo.String(), rev.Commit, strings.Join(rev.Refs, ", "), hubSize(rev.Bytes)})
				}
			}
		}
		if found == 0 {
			return fault.Of("the cache in %s has no %s", cache.Dir, name).Try("See: lentil scan-cache --revisions")
		}
	}
	plan := cache.Delete(func(_ hub.CachedRepo, rev hub.CachedRevision) bool { return chosen[rev.Path] })
	io.WriteString(streams.Out, table(rows))
	fmt.Fprintf(streams.Out, "This frees %s.\n", hubSize(plan.Bytes))
	if dryRun {
		return nil
	}
	if !yes && !confirm(streams, "Delete?") {
		fmt.Fprintln(streams.Out, "Nothing was deleted.")
		return nil
	}
	if err := plan.Run(); err != nil {
		return err
	}
	fmt.Fprintln(streams.Out, "Deleted.")
	return nil
}

// isNamed tells whether name is a repository, one of its revisions by branch, tag or commit, or a commit.
func isNamed(r hub.CachedRepo, rev hub.CachedRevision, name string) bool {
	repo, revision, ok := strings.Cut(name, "@")
	if ref, err := hub.ParseRef(name, hub.Model); err == nil && strings.Contains(name, "/") && ref.Repo == r.Repo {
		return ref.Revision == "" || ref.Revision == rev.Commit || slices.Contains(rev.Refs, ref.Revision)
	}
	if repo == r.Repo.String() || repo == string(r.Repo.Type)+"s/"+r.Repo.ID {
		return !ok || revision == rev.Commit || slices.Contains(rev.Refs, revision)
	}
	return !ok && name == rev.Commit
}

// confirm asks a question until it is answered with yes or no. No answer is a no.
func confirm(streams Streams, question string) bool {
	in := bufio.NewReader(streams.In)
	for {
		fmt.Fprintf(streams.Out, "%s (y/n) ", question)
		answer, err := in.ReadString('\n')
		switch strings.ToLower(strings.TrimRight(answer, "\r\n")) {
		case "y", "yes", "1":
			return true
		case "n", "no", "0", "":
			return false
		}
		if err != nil {
			return false
		}
		fmt.Fprintln(streams.Out, "Invalid input. Must be one of: yes/no/y/n or empty for no")
	}
}
