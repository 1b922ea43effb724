package dataset

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/lentil-lm/lentil/chat/jinja"
)

// texts gives all rows of a split as JSON.
func texts(t testing.TB, s *Split) (out []string) {
	t.Helper()
	for i := range s.Len() {
		p, at := s.find(i)
		row, err := p.src.row(at)
		if err != nil {
			t.Fatal(err)
		}
		text, err := jinja.FormatJSON(row)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, text)
	}
	return out
}

// TestKinds reads the same rows from files of every kind.
func TestKinds(t *testing.T) {
	t.Parallel()
	lines := `{"prompt": "a, \"b\"\nc", "completion": "Ü"}` + "\n" + `{"prompt": "2", "completion": ""}` + "\n"
	var gz, zst bytes.Buffer
	z := gzip.NewWriter(&gz)
	z.Write([]byte(lines))
	z.Close()
	enc, err := zstd.NewWriter(&zst)
	if err != nil {
		t.Fatal(err)
	}
	enc.Write([]byte(lines))
	enc.Close()
	array := "\xef\xbb\xbf \n[" + strings.Replace(strings.TrimSpace(lines), "}\n{", "},\n{", 1) + "]\n"
	for name, content := range map[string]string{
		"rows.jsonl": lines, "rows.json": array, "more.json": lines, "ROWS.JSON": array, "rows.jsonl.gz": gz.String(), "rows.ndjson.zst": zst.String(),
		"rows.csv": "prompt,completion\r\n\"a, \"\"b\"\"\nc\",Ü\r\n2,\r\n", "rows.tsv": "prompt\tcompletion\n\"a, \"\"b\"\"\nc\"\tÜ\n2\t\n",
	} {
		s, err := Load(filepath.Join(writeFiles(t, map[string]string{name: content}), name), Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := texts(t, s.Train); strings.Join(got, "\n")+"\n" != lines {
			t.Errorf("%s: %q", name, got)
		}
	}
	for name, c := range map[string]struct{ content, want string }{
		"rows.txt":      {"x", "expected a folder or a file of the kind .parquet"},
		"rows.json":     {`[{"text": "a"}, {"text": }]`, "rows.json: row 2: invalid character '}'"},
		"open.json":     {`[{"text": "a"}`, "open.json: after row 1: the list is not closed"},
		"other.json":    {`[{"text": "a"}, 5]`, "other.json: row 2: expected a JSON object"},
		"rows.csv":      {"text\na,b\n", "record on line 2: wrong number of fields"},
		"rows.jsonl.gz": {"no gzip", "rows.jsonl.gz: "},
		"rows.parquet":  {"no Parquet file", "rows.parquet: not a Parquet file"},
	} {
		if _, err := Load(filepath.Join(writeFiles(t, map[string]string{name: c.content}), name), Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	huge := &bounded{strings.NewReader("1234567890"), 9}
	if _, err := huge.Read(make([]byte, 20)); err == nil {
		t.Error("more was unpacked than may be")
	}
}

// parquetDir is a folder with pyarrow's file (see parquet/testdata/make.py) under the names given.
func parquetDir(t testing.TB, file string, names ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("parquet", "testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestParquet reads chats from Parquet files in two shards, and slices of them.
func TestParquet(t *testing.T) {
	t.Parallel()
	dir := parquetDir(t, "snappy.parquet", "data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/validation-00000-of-00001.parquet")
	opt := Options{TextFeature: "always", ChatFeature: "none"}
	s, err := Load(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	if s.Train.Len() != 120 || s.Valid.Len() != 60 || s.Test.Len() != 0 || len(s.Train.Files) != 2 {
		t.Errorf("%d, %d and %d rows", s.Train.Len(), s.Valid.Len(), s.Test.Len())
	}
	for i, want := range map[int]string{0: "row 0", 59: "row 59", 60: "row 0", 119: "row 59"} {
		row, err := s.Train.Row(i)
		if err != nil || row.Text != want {
			t.Errorf("row %d: %q, %v", i, row.Text, err)
		}
	}
	if got := s.Train.Where(61); !strings.HasSuffix(got, "train-00001-of-00002.parquet: row 2") {
		t.Errorf("row 61 is at %s", got)
	}
	opt.CompatMLX = true
	if s, err = Load(dir, opt); err != nil || s.Valid.Len() != 0 || !strings.Contains(s.ValidWarning(), "which has train, validation") {
		t.Errorf("as mlx-lm: %d rows, %v", s.Valid.Len(), err)
	}

	names, err := Names(dir)
	if err != nil {
		t.Fatal(err)
	}
	layout, err := FindLayout(names, Config{}, false)
	if err != nil {
		t.Fatal(err)
	}
	opt.CompatMLX = false
	part := Part{Name: "org/data", Dir: dir, Layout: layout, Train: "train[50:70]+validation[:2]", Valid: "train[-1:]", Options: opt}
	if s, err = LoadParts([]Part{part, {Dir: dir, Layout: layout, Train: "train[:1]", Options: Options{PromptFeature: "always", CompletionFeature: "always"}}}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range s.Train.Len() {
		row, err := s.Train.Row(i)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(row.Format, row.Text))
	}
	if len(got) != 23 || got[0] != "textrow 50" || got[9] != "textrow 59" || got[10] != "textrow 0" || got[20] != "textrow 0" || got[22] != "completions" {
		t.Errorf("%q", got)
	}
	if s.Valid.Len() != 1 || s.Valid.Where(0) != filepath.Join(dir, "data/train-00001-of-00002.parquet")+": row 60" {
		t.Errorf("%d rows", s.Valid.Len())
	}
	part.Train = "train+test"
	if _, err := LoadParts([]Part{part}); err == nil || !strings.Contains(err.Error(), "org/data: there is no split test; there is train, validation") {
		t.Errorf("no such split: %v", err)
	}
}

// TestBlocks reads a file of many blocks of rows in several orders, by several goroutines.
func TestBlocks(t *testing.T) {
	t.Parallel()
	src, err := openParquet(filepath.Join(parquetDir(t, "long.parquet", "long.parquet"), "long.parquet"), &Options{TextFeature: "text"})
	if err != nil {
		t.Fatal(err)
	}
	n := src.len()
	if n != 2000 || src.keys(nil) != 2 {
		t.Fatalf("%d rows, %d columns", n, src.keys(nil))
	}
	want := func(i int) {
		row, err := src.row(i)
		if err != nil {
			t.Error(err)
			return
		}
		if got, _ := row.Get("text"); got != fmt.Sprintf("text %d", i) || row.Len() != 1 {
			t.Errorf("row %d: %v", i, got)
		}
	}
	done := make(chan bool)
	for g := range 3 {
		go func() {
			for i := range n {
				switch g {
				case 0:
					want(i)
				case 1:
					want(min(i+3, n-1))
				default:
					if i%199 == 0 {
						want(n - 1 - i)
					}
				}
			}
			done <- true
		}()
	}
	for range 3 {
		<-done
	}
	if src.handle != nil && len(src.blocks) == 0 {
		t.Error("the file is open although nobody reads")
	}
}

// TestLongRows reads rows of a megabyte, of which there may not be hundreds in memory, in both directions.
func TestLongRows(t *testing.T) {
	t.Parallel()
	src, err := openParquet(filepath.Join("parquet", "testdata", "wide.parquet"), &Options{TextFeature: "text"})
	if err != nil {
		t.Fatal(err)
	}
	n := src.len()
	for k := range 2 * n {
		i := min(k, 2*n-1-k)
		row, err := src.row(i)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := row.Get("text")
		if got, _ := text.(string); !strings.HasPrefix(got, fmt.Sprintf("%d long", i)) {
			t.Fatalf("row %d is %.20q", i, got)
		}
		kept := 0
		for _, b := range src.blocks {
			kept += len(b.rows)
		}
		if most := blocksKept * (blockSize/1_000_000 + 1); kept > most {
			t.Fatalf("%d rows are kept, at most %d are expected", kept, most)
		}
	}
}

func TestParquetMistakes(t *testing.T) {
	t.Parallel()
	load := func(name string, opt Options) error {
		_, err := Load(filepath.Join(parquetDir(t, name, "rows.parquet"), "rows.parquet"), opt)
		return err
	}
	for _, c := range []struct {
		name string
		opt  Options
		want string
	}{
		{"snappy.parquet", Options{}, `rows.parquet: row 1: messages: the list is empty`},
		{"snappy.parquet", Options{ChatFeature: "no"}, `rows.parquet: row 1: unknown row format`},
		{"odd.parquet", Options{}, `rows.parquet: row 1: column "text": a value is not UTF-8`},
		{"snappy.parquet", Options{ChatFeature: "no", TextFeature: "long"}, `rows.parquet: row 1: "long": expected a string, found null`},
	} {
		if err := load(c.name, c.opt); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// FuzzParquet loads whatever it is given as a file of chats, texts or pairs.
func FuzzParquet(f *testing.F) {
	for _, name := range []string{"snappy.parquet", "zstd-v2.parquet", "delta-v2.parquet", "long.parquet"} {
		data, err := os.ReadFile(filepath.Join("parquet", "testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	tok := smallTokenizer(f, chatML)
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "rows.parquet")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, opt := range []Options{{}, {ChatFeature: "no", TextFeature: "always"}} {
			s, err := Load(path, opt)
			if err != nil {
				if !strings.Contains(err.Error(), "rows.parquet") {
					t.Errorf("the error %q does not name the file", err)
				}
				continue
			}
			if s.Train.Len() > 10_000 {
				continue // takes long
			}
			rows, err := encoder(t, tok, EncoderOptions{}).Rows(s.Train)
			if err != nil {
				t.Fatal(err)
			}
			rows.Prepare(context.Background(), nil) // may find mistakes
		}
	})
}
