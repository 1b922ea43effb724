package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/hub"
	"github.com/lentil-lm/lentil/run"
)

type uploadOptions struct {
	Path, Repo, Type string
	AdapterPath      string // whose training the model card tells about; empty: Path's own, if it has any
	BaseModel        string
	Private, NoCard  bool
	Message          string
	Include, Exclude []string
	Token            string
	JSON             string
}

func newUpload(streams Streams) *cobra.Command {
	var o uploadOptions
	cmd := &cobra.Command{
		Use:   "upload --upload-repo ORG/NAME",
		Short: "Share a model folder on the hub",
		Long: `Upload a folder to a repository of the Hugging Face hub, which is made if need be.
Files that are there already are not sent again, and an upload that was broken off
goes on where it was. Files that only the repository has stay. Of the folder of a
training run, the files that only resume it are left out. Links that lead out of the
folder are refused.

A model gets a card, README.md, with its base model, training settings and what was
measured. Metadata and text that you wrote in README.md are kept.`,
		Example: `  lentil login
  lentil upload --path ./fused --upload-repo me/nutrition-1b --adapter-path ./adapters
  lentil upload --path ./data --upload-repo me/answers --repo-type dataset --private`,
		GroupID: groupUse,
		Args:    noArguments,
	}
	group(cmd, "Flags", func(f *pflag.FlagSet) {
		f.StringVar(&o.Path, "path", "mlx_model", "`folder` to upload")
		f.StringVar(&o.Repo, "upload-repo", "", "`repository` to upload to; without ORG/ it is your own (required)")
		f.StringVar(&o.Type, "repo-type", "model", "model, dataset or space")
		f.BoolVar(&o.Private, "private", false, "if the repository has to be made, make a private one")
		f.StringVar(&o.Message, "message", "", "`title` of the commit")
		f.StringArrayVar(&o.Include, "include", nil, "upload only files that fit one of these shell `patterns`; all values up to the next flag count")
		f.StringArrayVar(&o.Exclude, "exclude", nil, "leave files that fit one of these `patterns` out, likewise")
		severalValues(f, "include", "exclude")
		f.StringVar(&o.Token, "token", "", "`token` to use; HF_TOKEN keeps it out of the list of processes")
		f.StringVar(&o.JSON, "json", "", "also write what was uploaded to this `file`")
	})
	group(cmd, "Model card", func(f *pflag.FlagSet) {
		f.StringVar(&o.AdapterPath, "adapter-path", "", "`folder` of the training run that the card tells about")
		f.StringVar(&o.BaseModel, "base-model", "", "`repository` of the base model; default: that in README.md, or of the training run")
		f.BoolVar(&o.NoCard, "no-card", false, "leave README.md as it is")
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return runUpload(cmd.Context(), streams, o)
	}
	return cmd
}

// notShared are the files of a training run that go on with it or tell of this machine.
var notShared = []string{"state/", "run.lock", run.ManifestName, run.LogName}

// target is where the upload goes: a client that has a token, and the repository with its owner.
func (o uploadOptions) target(ctx context.Context, streams Streams) (*hub.Client, hub.Repo, error) {
	if o.Repo == "" {
		return nil, hub.Repo{}, fault.Missing("upload_repo").Try("Give the repository to upload to, such as me/my-model.")
	}
	typ, err := repoType(o.Type)
	if err != nil {
		return nil, hub.Repo{}, err
	}
	ref, err := hub.ParseRef(o.Repo, typ)
	repo := ref.Repo
	switch {
	case err != nil:
		return nil, hub.Repo{}, fault.At("upload_repo", "%w", err)
	case ref.Path != "" || ref.Revision != "" && ref.Revision != "main":
		return nil, hub.Repo{}, fault.Given("upload_repo", o.Repo, "files are uploaded to the main branch of a repository").Try("Give %s.", repo)
	}
	client, err := newHub(streams, o.Token)
	if err != nil {
		return nil, hub.Repo{}, err
	}
	if _, err := client.WhoAmI(ctx); err != nil {
		return nil, hub.Repo{}, hub.Mark(err)
	}
	repo, err = client.Owned(ctx, repo)
	return client, repo, hub.Mark(err)
}

// thenUpload uploads what a command has just written. If that fails, nobody has to do the work before it again.
func thenUpload(ctx context.Context, streams Streams, o uploadOptions) error {
	err := runUpload(ctx, streams, o)
	if err != nil {
		command := fmt.Sprintf("%s upload --path %s --upload-repo %s", program(), o.Path, o.Repo)
		if o.AdapterPath != "" {
			command += " --adapter-path " + o.AdapterPath
		}
		fmt.Fprintf(streams.Err, "The model is in %s. To go on with its upload: %s\n", o.Path, command)
	}
	return err
}

func runUpload(ctx context.Context, streams Streams, o uploadOptions) error {
	client, repo, err := o.target(ctx, streams)
	if err != nil {
		return err
	}
	if info, err := os.Stat(o.Path); err != nil || !info.IsDir() {
		return fault.Given("path", o.Path, "there is no such folder")
	}
	if repo.Type == hub.Model && !o.NoCard {
		if err := writeCard(o, repo); err != nil {
			return err
		}
	}
	exclude := o.Exclude
	if _, err := os.Stat(filepath.Join(o.Path, run.ManifestName)); err == nil {
		exclude = append(exclude, notShared...)
	}
	progress, clear := hubProgress(streams, client, "Uploading "+repo.ID)
	done, err := client.Upload(ctx, hub.UploadOptions{
		Folder: o.Path, Repo: repo, Private: o.Private, Message: o.Message, Include: o.Include, Exclude: exclude, Progress: progress,
	})
	clear()
	if err != nil {
		return hub.Mark(err)
	}
	fmt.Fprintf(streams.Out, "%d files uploaded (%s of large files sent), %d were there already.\n", len(done.Files), run.Bytes(done.Sent), len(done.Unchanged))
	for _, name := range done.Ignored {
		fmt.Fprintf(streams.Err, "%s was left out: the repository's .gitignore says so.\n", name)
	}
	fmt.Fprintf(streams.Out, "Upload successful, go to %s for details.\n", done.URL)
	return writeFigures(o.JSON, map[string]any{
		"repo": done.Repo.String(), "url": done.URL, "commit": done.Commit, "files": done.Files, "unchanged": done.Unchanged, "sent_bytes": done.Sent,
	})
}
