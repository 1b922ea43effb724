package book

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// scan is a PDF of three pages, of which the first and the last are pictures.
func scan() []byte {
	m := new(paperMaker)
	m.page().draw().page().lines(50, 500, "Peas are pulses, and have been so for as long as people", "have grown them.")
	m.page().draw()
	return m.bytes()
}

// TestOCR: pages that are pictures are named, and a command reads them, and no others.
func TestOCR(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.pdf")
	if err := os.WriteFile(path, scan(), 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := Open(path)
	if err != nil || fmt.Sprint(d.Unread) != "[{1 no text: it is a picture} {3 no text: it is a picture}]" || len(d.Blocks) != 1 {
		t.Fatalf("%+v, %v", d, err)
	}
	if runtime.GOOS == "windows" {
		t.Skip("a Unix shell is missing, which the commands of the test are for")
	}
	read := func(command string) (*Document, error) { return Options{OCR: command}.Open(t.Context(), path) }
	d, err = read(`sh -c 'head -c 4 "$0" | tail -c 3; echo; echo; basename "$0"; stat -c %a "$0" 2>/dev/null || echo 600; ls "$(dirname "$0")" | wc -l >&2'`)
	if err != nil {
		t.Fatal(err)
	}
	check(t, d)
	same(t, tell(d), `
paragraph : "PNG"
paragraph : "page-00001.png 600"
paragraph : "Peas are pulses, and have been so for as long as people have grown them."
paragraph : "PNG"
paragraph : "page-00003.png 600"
`)
	if len(d.Unread) != 0 || !slices.Equal(d.OCR, []int{1, 3}) || d.Blocks[4].Page != "3" {
		t.Errorf("%+v, %v, page %s", d.Unread, d.OCR, d.Blocks[4].Page)
	}
	d, err = read(`sh -c 'case "$0" in *1.png) echo no luck >&2; exit 3;; esac'`)
	if err != nil || fmt.Sprint(d.Unread) != "[{1 the command for it failed: exit status 3: no luck} {3 the command for it found no text}]" {
		t.Errorf("%+v, %v", d, err)
	}
	pictures := filepath.Join(t.TempDir(), "b.pdf")
	if err := os.WriteFile(pictures, new(paperMaker).page().draw().bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	var told []int
	o := Options{OCR: `sh -c 'echo no tongue >&2; exit 1'`, Progress: func(done, of int) { told = append(told, done, of) }}
	if _, err := o.Open(t.Context(), pictures); err == nil || !strings.Contains(err.Error(), "page 1 of 1: the command for it failed: exit status 1: no tongue") {
		t.Error(err)
	}
	if fmt.Sprint(told) != "[1 1 1 1]" { // read, and then by the command
		t.Errorf("progress %v", told)
	}
	for command, want := range map[string]string{"'open": "a quote is not closed", "  ": "is no command", "no-such-command-here {}": "no-such-command-here: "} {
		if _, err := read(command); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "ocr") {
			t.Errorf("%s: %v, expected %q", command, err, want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "lentil-ocr-*")); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
}

// TestOCREndless: a command that prints without end is ended when that is more than a page can have.
func TestOCREndless(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("a Unix shell is missing, which the commands of the test are for")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := runOCR(ctx, []string{"yes", "{}"}, filepath.Join(t.TempDir(), "page.png"), nil)
	if err == nil || !strings.Contains(err.Error(), "printed more than a page can have") {
		t.Error(err)
	}
}

func TestSplitCommand(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"go {} stdout": "go|{}|stdout", "go -l 'a b' \"c'd\"": "go|-l|a b|c'd|{}", "go ''": "go||{}", `g'o'	{}`: "go|{}",
	} {
		if words, err := splitCommand(line); err != nil || strings.Join(words, "|") != want {
			t.Errorf("%s: %q, %v", line, words, err)
		}
	}
}

// TestShelf: folders are searched for books, and for nothing else; a book that is named twice is one.
func TestShelf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"b.epub", "a.PDF", "x/c.txt", ".hidden/d.txt", ".e.txt", "f.jpg", "empty/g"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	os.Symlink("nowhere", filepath.Join(dir, "h.txt"))
	os.Symlink("b.epub", filepath.Join(dir, "i.epub"))
	got, err := Shelf(filepath.Join(dir, "f.jpg"), dir, filepath.Join(dir, "x"), filepath.Join(dir, "x", "..", "b.epub"))
	for i := range got {
		got[i] = strings.TrimPrefix(filepath.ToSlash(got[i]), filepath.ToSlash(dir)+"/")
	}
	if want := []string{"f.jpg", "a.PDF", "b.epub", "x/c.txt"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, expected %q", got, err, want)
	}
	if _, err := Shelf(filepath.Join(dir, "empty")); err == nil || !strings.Contains(err.Error(), "has no books in it") {
		t.Error(err)
	}
	if _, err := Shelf(filepath.Join(dir, "nothere")); err == nil {
		t.Error("a missing file is no mistake")
	}
}
