package dataset

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/lentil-lm/lentil/internal/spoil"
)

// A bomb is a file that stands for much more: head once, then a text so many times.
type bomb struct {
	name, head, text string
	times            int
	want             string // in the error
}

// write makes the file of a bomb in a folder.
func (b bomb) write(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, b.name)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out io.WriteCloser = f
	switch filepath.Ext(b.name) {
	case ".gz":
		out, err = gzip.NewWriterLevel(f, gzip.BestSpeed)
	case ".zst":
		out, err = zstd.NewWriter(f)
	}
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(out, b.head)
	block := bytes.Repeat([]byte(b.text), 1<<16)
	for left := b.times; left > 0; left -= 1 << 16 {
		if _, err := out.Write(block[:min(left, 1<<16)*len(b.text)]); err != nil {
			t.Fatal(err)
		}
	}
	if out != f {
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// TestGrowth: small files that stand for much more are refused before they take its memory, and so are rows that do so
// as they are.
func TestGrowth(t *testing.T) {
	for _, b := range []bomb{
		{"cell.csv.gz", "text\n\"", "x", 70 << 20, "the row is longer than 64 MiB"},
		{"cells.csv.gz", "text\n", ",", 6 << 20, "cells"},
		{"head.csv.gz", "text", "x", 3 << 20, "the head, which names the columns, is longer than 1 MiB"},
		{"columns.csv.gz", "text", ",a", 500_000, "the head names 500001 columns"},
		{"growing.csv.gz", "text," + strings.Repeat("x", 900_000) + "\n", "a,\n", 400, "out of proportion"},
		{"rows.csv.gz", "text\n", "a\n", 3 << 20, "out of proportion"},
		{"rows.jsonl.gz", "{\"text\": \"a\"}\n", "{}\n", 3 << 20, "out of proportion"},
		{"line.jsonl.zst", "{\"text\": \"", "a", 70 << 20, "the line is longer than 64 MiB"},
		{"element.json.gz", "[{\"text\": \"", "a", 70 << 20, "the row is longer than 64 MiB"},
		{"elements.json.gz", "[{\"text\": \"a\"}", ",{}", 3 << 20, "out of proportion"},
		{"blank.json.gz", "[", " ", 70 << 20, "the row is longer than 64 MiB"},
		{"numbers.jsonl", "{\"text\": [1", ",1", 2 << 20, "more than 1048576 values"},
		{"objects.jsonl", "{\"text\": [1", ",{}", 2 << 20, "more than 1048576 values"},
		{"key.jsonl", "{\"", "k", 30 << 20, "a string is not closed"},
		{"longkey.jsonl", "{\"text\": 1, \"" + strings.Repeat("k", 30<<20) + "\" ", " ", 1, "expected ':'"},
	} {
		t.Run(b.name, func(t *testing.T) {
			if testing.Short() && !slices.Contains([]string{"cell.csv.gz", "numbers.jsonl", "longkey.jsonl"}, b.name) {
				t.Skip("short: takes seconds, and three other files stand for all")
			}
			t.Parallel()
			spoil.Peak(t, 500, func(t *testing.T) {
				path := b.write(t, t.TempDir())
				_, err := Load(path, Options{})
				if err == nil || !strings.Contains(err.Error(), b.want) || !strings.Contains(err.Error(), b.name) || len(err.Error()) > 1000 {
					t.Errorf("%.300v, want %q", err, b.want)
				}
			})
		})
	}
}

// TestLongRow: a row of 60 MB that is cut after a few tokens is tokenised no further than that takes, and its tokens
// are those of the whole row.
func TestLongRow(t *testing.T) {
	if testing.Short() {
		t.Skip("encodes 60 MB three times; TestLongRows reads long rows")
	}
	const words, limit = 12_000_000, 256
	tok := smallTokenizer(t, chatML)
	spoil.Peak(t, 900, func(t *testing.T) {
		long := strings.Repeat("Beans", words)
		for _, row := range []string{
			`{"text": "` + long + `"}`,
			`{"prompt": "Which?", "completion": "` + long[:15_000_000] + `"}`, // a template gives 16 MiB at most
			`{"prompt": "` + long[:15_000_000] + `", "completion": "Lupins."}`,
		} {
			s := load(t, map[string]string{"train.jsonl": row}, Options{})
			rows, err := encoder(t, tok, EncoderOptions{MaskPrompt: s.Train.Format != Text, MaxSeqLength: limit}).Rows(s.Train)
			if err != nil {
				t.Fatal(err)
			}
			report, err := rows.Prepare(t.Context(), nil)
			if hidden := strings.Contains(row, "Lupins"); hidden != (err != nil) {
				t.Fatalf("%.20s: %v", row, err)
			}
			if report.Truncated != 1 || report.Unread < 13_000_000 || !strings.Contains(report.Warnings()[0].String(), "bytes more") {
				t.Errorf("%.20s: %+v", row, report)
			}
		}
	})
}

// TestEnough: what is left out changes none of the tokens before the cut.
func TestEnough(t *testing.T) {
	t.Parallel()
	const limit = 3000
	tok := smallTokenizer(t, chatML)
	text := strings.Repeat("Beans é and lentils, 12 of them.\n", 60_000)
	whole, err := encoder(t, tok, EncoderOptions{}).Encode(Row{Format: Text, Text: text})
	if err != nil {
		t.Fatal(err)
	}
	short, err := encoder(t, tok, EncoderOptions{MaxSeqLength: limit}).Encode(Row{Format: Text, Text: text})
	if err != nil {
		t.Fatal(err)
	}
	if short.Unread == 0 || whole.Unread != 0 || len(short.IDs) < limit || !slices.Equal(short.IDs[:limit], whole.IDs[:limit]) {
		t.Errorf("%d tokens and %d bytes of %d tokens", len(short.IDs), short.Unread, len(whole.IDs))
	}
}

// TestParquetBudget: rows of a Parquet file count once, when they are first read.
func TestParquetBudget(t *testing.T) {
	t.Parallel()
	const rows, size = 60, 1_000_000 // at least
	src, err := openParquet(filepath.Join("parquet", "testdata", "wide.parquet"), &Options{TextFeature: "text"})
	if err != nil {
		t.Fatal(err)
	}
	src.budget.left = rows * (size + 1000)
	for range 2 {
		for i := range rows {
			if _, err := src.row(i); err != nil {
				t.Fatalf("row %d: %v", i, err)
			}
		}
	}
	src, err = openParquet(src.path, &Options{TextFeature: "text"})
	if err != nil {
		t.Fatal(err)
	}
	src.budget.left = 20 * size
	for i := range rows {
		if _, err = src.row(i); err != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "wide.parquet: row 20: the rows take more than") {
		t.Errorf("%v, want an error at row 20", err)
	}
}
