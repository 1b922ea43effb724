package dataset

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func (l Layout) String() string {
	var b strings.Builder
	for _, s := range l {
		fmt.Fprintf(&b, "%s=%s ", s.Split, strings.Join(s.Files, ","))
	}
	return strings.TrimSpace(b.String())
}

// TestFindLayout has what datasets 5.2 finds in folders of these files, if not noted otherwise.
func TestFindLayout(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		files string
		c     Config
		some  bool // not: everything else is the training set
		want  string
	}{
		{"names", "train.jsonl valid.jsonl test.jsonl .gitattributes", Config{}, false, "train=train.jsonl validation=valid.jsonl test=test.jsonl"},
		{"shards", "data/train-00001-of-00002.parquet data/train-00000-of-00002.parquet data/valid-00000-of-00001.parquet data/test-00000-of-00001.parquet data/my.own-00000-of-00001.parquet train.parquet", Config{}, false,
			"train=data/train-00000-of-00002.parquet,data/train-00001-of-00002.parquet test=data/test-00000-of-00001.parquet my.own=data/my.own-00000-of-00001.parquet valid=data/valid-00000-of-00001.parquet"},
		{"folders", "training/b.jsonl training/a.jsonl eval/x.jsonl other.jsonl", Config{}, false, "train=training/a.jsonl,training/b.jsonl test=eval/x.jsonl"},
		{"words in names", "my-train-1.json mytrain.json dev_set.json retest.json x/y/z-testing.json", Config{}, false, "train=my-train-1.json validation=dev_set.json test=x/y/z-testing.json"},
		{"everything", "a.parquet b/c.parquet .hidden/d.parquet __pycache__/e.parquet .f.parquet README.md dataset_info.json", Config{}, false, "train=a.parquet,b/c.parquet"},
		{"not everything", "a.parquet b/c.parquet", Config{}, true, ""},
		{"folder before name", "train/train.csv train/validation.csv train.csv", Config{}, false, "train=train/train.csv,train/validation.csv"},
		{"deeper folders", "v1/validation-a/x.parquet v1/train/x.parquet train-0.parquet", Config{}, false, "train=v1/train/x.parquet validation=v1/validation-a/x.parquet"},
		{"one kind", "train.parquet train-2.parquet test.jsonl train.txt", Config{}, false, "train=train-2.parquet,train.parquet"},
		{"card", "a.jsonl b/1.jsonl b/c/2.jsonl v [1].jsonl", Config{Files: Layout{{"train", []string{"b/*", "a.*"}}, {"own", []string{"b/**"}}}}, false, "train=b/1.jsonl,a.jsonl own=b/1.jsonl,b/c/2.jsonl"},
		{"card, hidden", ".a/x.jsonl b.jsonl", Config{Files: Layout{{"train", []string{".a/*"}}}}, false, "train=.a/x.jsonl"},
		{"card, folder", "one/train.jsonl two/train.jsonl two/dev.jsonl", Config{Dir: "./two/"}, false, "train=two/train.jsonl validation=two/dev.jsonl"},
		{"card, this folder", "train.jsonl x/a.jsonl", Config{Dir: "."}, false, "train=train.jsonl"},
		{"card, top folder", "train.jsonl", Config{Dir: "./"}, false, "train=train.jsonl"},
		{"card, root", "train.jsonl", Config{Dir: "/"}, false, "train=train.jsonl"},
		{"compressed", "train.jsonl.zst test.csv.gz valid.json.gz", Config{}, false, "train=train.jsonl.zst validation=valid.json.gz"},
		{"nothing", "", Config{}, false, ""},
	} {
		got, err := FindLayout(strings.Fields(c.files), c.c, !c.some)
		if err != nil || got.String() != c.want {
			t.Errorf("%s: %s, %v\nwant %s", c.name, got, err, c.want)
		}
	}
	for _, c := range []struct {
		files, want string
		c           Config
	}{
		{"train.arrow notes.txt", "no file can be read: expected .parquet", Config{}},
		{"a.jsonl", "the card says that the split test is in b*.jsonl", Config{Files: Layout{{"train", []string{"a.jsonl"}}, {"test", []string{"b*.jsonl"}}}}},
	} {
		if _, err := FindLayout(strings.Fields(c.files), c.c, true); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.files, err, c.want)
		}
	}
}

// TestLinkedFolder reads a dataset by a symbolic link to its folder.
func TestLinkedFolder(t *testing.T) {
	t.Parallel()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(writeFiles(t, map[string]string{"train.csv": "text\na\n"}), link); err != nil {
		t.Fatal(err)
	}
	if s, err := Load(link, Options{}); err != nil || s.Train.Len() != 1 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestChooseConfig(t *testing.T) {
	t.Parallel()
	a, b, def := Config{Name: "a"}, Config{Name: "b", Default: true}, Config{Name: "default"}
	for _, c := range []struct {
		configs []Config
		name    string
		want    string // name, or part of the error
	}{
		{nil, "", ""}, {[]Config{a}, "", "a"}, {[]Config{a, b}, "", "b"}, {[]Config{a, def}, "", "default"}, {[]Config{a, b}, "a", "a"},
		{[]Config{a, b}, "c", "there is a, b"}, {nil, "c", "there is none"}, {[]Config{a, {Name: "c"}}, "", "there are 2 configurations and none is the default: a, c"},
	} {
		got, err := ChooseConfig(c.configs, c.name)
		if err == nil && got.Name != c.want || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, %q: %v, %v; want %q", c.configs, c.name, got, err, c.want)
		}
	}
}

func FuzzLayout(f *testing.F) {
	f.Add("data/train-00000-of-00001.parquet\nx/[a].jsonl", "x/[[]a]*", "x")
	f.Add("a\nb", "[z-a]", "")
	f.Add("a.jsonl", "[]*[!", "..")
	f.Fuzz(func(t *testing.T, names, pattern, dir string) {
		list := strings.Split(names, "\n")
		for _, c := range []Config{{}, {Dir: dir, Files: Layout{{"train", []string{pattern, "**"}}}}} {
			l, err := FindLayout(list, c, true)
			if err != nil {
				continue
			}
			for _, s := range l {
				for _, name := range s.Files {
					if !slices.Contains(list, name) && c.Dir == "" {
						t.Errorf("%q is not one of the files", name)
					}
				}
			}
		}
	})
}

// TestFolders: rows of a folder are looked for in those of its folders that are named data or after a split, and in no
// other.
func TestFolders(t *testing.T) {
	t.Parallel()
	for name, found := range map[string]bool{
		"train.csv": true, "my-train-1.csv": true, "train/a.csv": true, "data/train-00000-of-00001.csv": true, "data/train/a.csv": true, "my_train/a.csv": true,
		"photos/train.csv": false, "photos/train/a.csv": false, "data/photos/train.csv": false, "trained/train.csv": false,
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("text\na\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Load(dir, Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if (s.Train.Len() == 1) != found {
			t.Errorf("%s: %d rows", name, s.Train.Len())
		}
	}
}
