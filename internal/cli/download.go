package cli

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/engine"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/run/screen"
)

type downloadOptions struct {
	Repo, Type       string
	Revision         string
	Files            []string
	Include, Exclude []string
	All              bool
	LocalDir, Cache  string
	Overwrite        bool
	Token            string
	Quiet            bool
	JSON             string
}

func newDownload(streams Streams) *cobra.Command {
	var o downloadOptions
	cmd := &cobra.Command{
		Use:   "download (REPO | ADDRESS) [FILE...]",
		Short: "Fetch a model or data set from the hub",
		Long: `Fetch a repository of the Hugging Face hub into the cache that all its tools share,
and print the folder. What is there already is not fetched again, and a download
that was broken off goes on where it was. Files are checked against their hashes.

Of a model, the files that a model needs are fetched: configuration, tokenizer and
safetensors; of other repositories all files; or those that are named. REPO may be
an address that was copied from a browser. HF_ENDPOINT, HF_HOME, HF_HUB_CACHE,
HF_TOKEN and HF_HUB_OFFLINE count.`,
		Example: `  lentil download mlx-community/Qwen3-0.6B-4bit
  lentil download org/model --revision v1.0 --include "*.json" tokenizer.model
  lentil download org/model-GGUF --include "*Q4_K_M.gguf" --local-dir ./model
  lentil download https://huggingface.co/org/model-GGUF/resolve/main/model-Q4_K_M.gguf
  lentil download org/model config.json tokenizer.json
  lentil download org/answers --repo-type dataset`,
		GroupID: groupUse,
		Args:    oneRepo,
	}
	group(cmd, "Flags", func(f *pflag.FlagSet) {
		f.StringVar(&o.Type, "repo-type", "model", "model, dataset or space")
		f.StringVar(&o.Revision, "revision", "", "`branch`, tag or commit; default: main, or what REPO says")
		f.StringArrayVar(&o.Include, "include", nil, "fetch only files that fit one of these shell `patterns`; all values up to the next flag count")
		f.StringArrayVar(&o.Exclude, "exclude", nil, "leave files that fit one of these `patterns` out, likewise")
		severalValues(f, "include", "exclude")
		f.BoolVar(&o.All, "all", false, "fetch all files")
		f.StringVar(&o.LocalDir, "local-dir", "", "put the files into this `folder` instead of the cache")
		f.BoolVar(&o.Overwrite, "overwrite", false, "replace files in --local-dir that were not downloaded there")
		f.StringVar(&o.Cache, "cache-dir", "", "`folder` of the cache, instead of that of HF_HUB_CACHE")
		f.BoolVar(&o.Quiet, "quiet", false, "print nothing but the folder")
		f.StringVar(&o.Token, "token", "", "`token` to use; HF_TOKEN keeps it out of the list of processes")
		f.StringVar(&o.JSON, "json", "", "also write what was fetched to this `file`")
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.Repo, o.Files = args[0], args[1:]
		return runDownload(cmd.Context(), streams, o)
	}
	return cmd
}

// severalValues lets flags take all values up to the next flag, as the hub's own tool has it.
func severalValues(f *pflag.FlagSet, names ...string) {
	for _, name := range names {
		annotate(f.Lookup(name), manyKey, "1")
	}
}

func oneRepo(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return fault.Of("expected one repository ORG/NAME, and maybe names of files").Try("Give it before --include and --exclude, which take all values that follow. See: %s --help", cmd.CommandPath())
	}
	return nil
}

// newHub makes a client with the settings of the environment. An empty token is that of the environment.
func newHub(streams Streams, token string) (*hub.Client, error) {
	cfg, err := hub.FromEnv()
	if err != nil {
		return nil, fault.Mark(err)
	}
	if token != "" {
		cfg.Token, cfg.TokenError = token, nil
	}
	cfg.Notice = func(text string) { fmt.Fprintln(streams.Err, text) }
	return hub.New(cfg)
}

func repoType(text string) (hub.RepoType, error) {
	switch t := hub.RepoType(text); t {
	case hub.Model, hub.Dataset, hub.Space:
		return t, nil
	}
	return "", fault.Value("repo_type", text, "model, dataset or space")
}

func runDownload(ctx context.Context, streams Streams, o downloadOptions) error {
	streams.presses.stopping("Stopping: what has come is kept, and the same command goes on from there. Ctrl-C again ends at once.")
	typ, err := repoType(o.Type)
	if err != nil {
		return err
	}
	ref, err := hub.ParseRef(o.Repo, typ)
	if err != nil {
		return fault.Mark(err)
	}
	repo, include := ref.Repo, o.Include
	switch {
	case o.Revision != "" && ref.Revision != "" && o.Revision != ref.Revision:
		return fault.Given("revision", o.Revision, "%s names %s", o.Repo, ref.Revision).Try("Leave one of them out.")
	case ref.Folder:
		include = append(include, hub.Exactly(ref.Path)+"/")
	case ref.Path != "":
		include = append(include, hub.Exactly(ref.Path))
	}
	for _, name := range o.Files {
		if !strings.ContainsAny(name, "*?") { // as in --include "*.json" "*.txt", which the hub's own tool allows
			name = hub.Exactly(name)
		}
		include = append(include, name)
	}
	if repo.Type == hub.Model && len(include) == 0 && !o.All {
		include = hub.ModelPatterns
	}
	client, err := newHub(streams, o.Token)
	if err != nil {
		return err
	}
	if o.Quiet || o.Cache != "" {
		cfg := client.Config()
		if o.Quiet {
			cfg.Quiet, cfg.Notice = true, nil
		}
		if o.Cache != "" {
			if cfg.Cache, err = filepath.Abs(o.Cache); err != nil {
				return err
			}
		}
		if client, err = hub.New(cfg); err != nil {
			return err
		}
	}
	progress, clear := hubProgress(streams, client, "Downloading "+repo.ID)
	snap, err := client.Download(ctx, repo, hub.Options{
		Revision: cmp.Or(o.Revision, ref.Revision, "main"), Include: include, Exclude: o.Exclude, LocalDir: o.LocalDir, Overwrite: o.Overwrite, Progress: progress,
	})
	clear()
	if err != nil {
		return hub.Mark(err)
	}
	if text := snap.Warning(); text != "" {
		fmt.Fprintln(streams.Err, text)
	}
	if !o.Quiet {
		fmt.Fprintf(streams.Err, "%s at %.8s: %d files, %s, of which %s were fetched\n", repo, snap.Commit, len(snap.Files), run.Bytes(snap.Bytes), run.Bytes(snap.Fetched))
	}
	fmt.Fprintln(streams.Out, snap.Dir)
	return writeFigures(o.JSON, map[string]any{
		"repo": repo.String(), "commit": snap.Commit, "path": snap.Dir, "files": snap.Files, "bytes": snap.Bytes, "fetched_bytes": snap.Fetched,
	})
}

// hubProgress shows how a download or upload comes along, if it may: on a terminal as a bar, elsewhere as a line for
// each file that has come over the network. clear takes the bar off the screen.
func hubProgress(streams Streams, client *hub.Client, task string) (progress func(hub.Progress), clear func()) {
	if client.Config().Quiet {
		return nil, func() {}
	}
	return streams.transfer(task)
}

// opening is how commands open models: downloads are shown.
func (s Streams) opening(threads int) engine.Options {
	return engine.Options{
		Threads:  threads,
		Download: func(repo string) (func(hub.Progress), func()) { return s.transfer("Downloading " + repo) },
		Warn:     func(text string) { fmt.Fprintln(s.Err, text) },
	}
}

// transfer shows how files come along.
func (s Streams) transfer(task string) (progress func(hub.Progress), clear func()) {
	file := fileOf(s.Err)
	terminal := file != nil && screen.IsTerminal(file)
	var moving transfers
	front := "" // stands before the next amount: there is one line for the bar and the file under way
	bar := s.bar(func(n int64) string {
		text := front + run.Bytes(n)
		front = ""
		return text
	})
	told := false
	return func(p hub.Progress) {
		if p.Notice != "" {
			bar.Clear()
			fmt.Fprintln(s.Err, p.Notice)
			return
		}
		if p.Waiting && !told {
			told = true
			bar.Clear()
			fmt.Fprintf(s.Err, "Another process is downloading %s: waiting for it.\n", p.File)
		}
		if moving.take(p) && !terminal {
			fmt.Fprintf(s.Err, "%s: %s, %s (%d%% of all)\n", task, p.File, run.Bytes(p.Size), percent(p.AllDone, p.AllSize))
		}
		front = ""
		if len(moving) > 0 && p.Size < p.AllSize {
			front = moving.String() + ", "
		}
		bar.Set64(task, p.AllDone, p.AllSize)
	}, bar.Clear
}

// transfers are the files under way, in the order in which they began.
type transfers []hub.Progress

// take notes how far a file has come; true if that was the last of it.
func (t *transfers) take(p hub.Progress) bool {
	i := slices.IndexFunc(*t, func(q hub.Progress) bool { return q.File == p.File })
	switch {
	case p.Finished && i >= 0:
		*t = slices.Delete(*t, i, i+1)
		return true
	case p.Finished || p.Waiting:
	case i >= 0:
		(*t)[i] = p
	default:
		*t = append(*t, p)
	}
	return false
}

// String names the first file with its share, and counts the others, in few letters.
func (t transfers) String() string {
	name, _, _ := strings.Cut(path.Base(t[0].File), "-of-0") // the number of a shard is enough
	if short := []rune(strings.TrimSuffix(name, ".safetensors")); len(short) <= 24 {
		name = string(short)
	} else {
		name = string(short[:10]) + "..." + string(short[len(short)-11:])
	}
	text := fmt.Sprintf("%s %d%%", name, percent(t[0].Done, t[0].Size))
	if len(t) > 1 {
		text += fmt.Sprintf(" +%d", len(t)-1)
	}
	return text
}

func percent(part, whole int64) int64 { return 100 * part / max(whole, 1) }
