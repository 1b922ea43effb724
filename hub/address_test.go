package hub

import (
	"strings"
	"testing"
)

// TestParseRef: addresses are understood as they are copied from a browser or another tool.
func TestParseRef(t *testing.T) {
	t.Setenv("HF_ENDPOINT", "https://hub.example.org:8443/")
	model, data := Repo{Model, "org/name"}, Repo{Dataset, "org/name"}
	for text, want := range map[string]Ref{
		"org/name":                                                          {Repo: model},
		"org/name@v1.0":                                                     {Repo: model, Revision: "v1.0"},
		"https://huggingface.co/org/name":                                   {Repo: model},
		"https://huggingface.co/org/name/":                                  {Repo: model},
		"HTTPS://HuggingFace.co/org/name#readme":                            {Repo: model},
		"http://www.huggingface.co/org/name?library=mlx":                    {Repo: model},
		"huggingface.co/org/name":                                           {Repo: model},
		"hf.co/org/name":                                                    {Repo: model},
		"https://hub.example.org:8443/org/name":                             {Repo: model},
		"https://huggingface.co/models/org/name":                            {Repo: model},
		"https://huggingface.co/org/name/tree/main":                         {Repo: model, Revision: "main"},
		"https://huggingface.co/org/name/tree/main/4bit/new":                {Repo: model, Revision: "main", Path: "4bit/new", Folder: true},
		"https://huggingface.co/org/name/blob/v2/x.gguf":                    {Repo: model, Revision: "v2", Path: "x.gguf"},
		"https://huggingface.co/org/name/resolve/main/x.gguf?download=true": {Repo: model, Revision: "main", Path: "x.gguf"},
		"https://huggingface.co/org/name/raw/main/a/b%20c.json":             {Repo: model, Revision: "main", Path: "a/b c.json"},
		"https://huggingface.co/org/name/tree/refs%2Fpr%2F1":                {Repo: model, Revision: "refs/pr/1"},
		"https://huggingface.co/org/name/blob/refs/pr/1/x.gguf":             {Repo: model, Revision: "refs/pr/1", Path: "x.gguf"},
		"https://huggingface.co/org/name/discussions/3":                     {Repo: model},
		"https://huggingface.co/org/name/commits/main":                      {Repo: model},
		"https://huggingface.co/datasets/org/name":                          {Repo: data},
		"https://huggingface.co/datasets/org/name/viewer/default/train":     {Repo: data},
		"https://huggingface.co/gpt2":                                       {Repo: Repo{Model, "gpt2"}},
		"https://huggingface.co/gpt2/tree/main":                             {Repo: Repo{Model, "gpt2"}, Revision: "main"},
		"https://huggingface.co/datasets/squad":                             {Repo: Repo{Dataset, "squad"}},
		"hf://org/name":                                                     {Repo: model},
		"hf://org/name@v1/a/x.gguf":                                         {Repo: model, Revision: "v1", Path: "a/x.gguf"},
		"hf://org/name/x.gguf":                                              {Repo: model, Path: "x.gguf"},
		"hf://datasets/org/name@main/train.parquet":                         {Repo: data, Revision: "main", Path: "train.parquet"},
	} {
		got, err := ParseRef(text, Model)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", text, got, err, want)
		}
		if !LooksLikeRepo(text) {
			t.Errorf("%s does not look like a repository", text)
		}
		if got := RepoOf(text); want.Repo.Type == Model && got != want.Repo.ID {
			t.Errorf("%s: repository %q", text, got)
		}
	}
	for text, want := range map[string]string{
		"https://example.org/org/name":                                     "example.org is not the hub",
		"https://huggingface.co.example.org/org/name":                      "is not the hub",
		"https://huggingface.co":                                           "not the name of a repository",
		"https://huggingface.co/org/..":                                    "not the name of a repository",
		"ftp://huggingface.co/org/name":                                    "no address of the web",
		"hf://":                                                            "not the name of a repository",
		"https://huggingface.co/org/name/resolve/main/../../x":             "climbs out",
		"https://huggingface.co/org/name/resolve/main/%2e%2e%2f%2e%2e%2fx": "climbs out",
		"https://huggingface.co/org/name/resolve/main/%2Fetc/passwd":       "absolute path",
		"https://huggingface.co/org/name/blob/main/%zz":                    "no address",
	} {
		if got, err := ParseRef(text, Model); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v, want %q", text, got, err, want)
		}
	}
}
