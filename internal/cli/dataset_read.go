package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/book"
	"github.com/lentil-lm/lentil/fault"
)

func newDatasetRead(streams Streams) *cobra.Command {
	var o readOptions
	cmd := &cobra.Command{
		Use:   "read BOOKS...",
		Short: "Show what was understood of books, and what was left out of them",
		Long: `Read books and show how they were understood: their headings, how many blocks of
each kind they have, and what was left out of their text, such as page numbers,
running heads and marks of notes. Books are PDF, EPUB 2 and 3, DOCX, HTML, Markdown
and plain text files, and folders of these. One that cannot be read is told, and does
not stop the others; the exit code is 2 then.

Pages of a PDF that are pictures are named. --ocr has a command of yours read them: it
gets a picture of the page (PNG) in the place of {} and prints the text.`,
		Example: `  lentil dataset read book.epub
  lentil dataset read ./books
  lentil dataset read book.epub --markdown > book.md
  lentil dataset read scan.pdf --ocr 'tesseract {} stdout -l eng'
  lentil dataset read book.html --json book.json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fault.Of("found no book, expected one or more, or folders of them").Try("Usage: %s", cmd.UseLine())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return readBooks(cmd.Context(), streams, args, o)
		},
	}
	group(cmd, "Flags", func(f *pflag.FlagSet) {
		f.BoolVar(&o.markdown, "markdown", false, "print the whole books as Markdown")
		f.StringVar(&o.json, "json", "", "also write all blocks, and all that was left out, to a `file`")
		f.StringVar(&o.ocr, "ocr", "", "`command` that reads the text off pages that are pictures: {} stands for the picture")
	})
	return cmd
}

type readOptions struct {
	markdown  bool
	json, ocr string
}

// A readBook is a document with the file that it was read from.
type readBook struct {
	File string `json:"file"`
	*book.Document
}

// readBooks reads one book after the other. Of several, those that cannot be read do not stop the others.
func readBooks(ctx context.Context, streams Streams, args []string, o readOptions) error {
	paths, err := book.Shelf(args...)
	if err != nil {
		return fault.Mark(err)
	}
	several := len(paths) > 1
	var books []readBook
	failed := 0
	for i, path := range paths {
		bar := streams.bar(nil)
		task := "Reading " + filepath.Base(path)
		if several {
			task = fmt.Sprintf("Reading %d of %d, %s", i+1, len(paths), filepath.Base(path))
		}
		d, err := book.Options{OCR: o.ocr, Progress: func(done, of int) { bar.Set(task, done, of) }}.Open(ctx, path)
		bar.Clear()
		if err != nil {
			if err = fault.Mark(err, context.Canceled); !several || ctx.Err() != nil || fault.SettingOf(err) != "" {
				return err
			}
			failed++
			fmt.Fprint(streams.Err, errorText(err))
			continue
		}
		text := bookSummary(path, d)
		if o.markdown {
			text = d.Markdown()
		}
		if i > failed {
			text = "\n" + text
		}
		if _, err := io.WriteString(streams.Out, text); err != nil {
			return err
		}
		if o.json != "" {
			books = append(books, readBook{path, d})
		}
	}
	if len(books) == 1 && !several {
		err = writeFigures(o.json, books[0])
	} else {
		err = writeFigures(o.json, books)
	}
	if err == nil && failed > 0 {
		err = fault.Of("%d of %d books could not be read", failed, len(paths)).Try("They are named above, each with what can be done.")
	}
	return err
}

// bookSummary tells what a document holds, its headings, and what was left out of its text.
func bookSummary(path string, d *book.Document) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s (%s)", path, d.Format, d.Encoding)
	if d.Title != "" {
		fmt.Fprintf(&b, ", %q", d.Title)
	}
	if len(d.Authors) > 0 {
		fmt.Fprintf(&b, " by %s", strings.Join(d.Authors, ", "))
	}
	fmt.Fprintf(&b, "\n%d words in %d blocks: %s\n\n", len(strings.Fields(d.Text())), len(d.Blocks), blockKinds(d))
	for _, block := range d.Blocks {
		if block.Kind == book.Heading {
			fmt.Fprintf(&b, "%s%s\n", strings.Repeat("  ", block.Level), strings.ReplaceAll(block.Text, "\n", " "))
		}
	}
	if n := len(d.OCR); n > 0 {
		fmt.Fprintf(&b, "\nRead off their pictures by the command of --ocr: %d of %d pages\n", n, d.Pages)
	}
	b.WriteString(markedParts(d))
	b.WriteString(unreadPages(d))
	if len(d.Removed) == 0 {
		b.WriteString("\nNothing was left out.\n")
		return b.String()
	}
	b.WriteString("\nLeft out:\n")
	removed := map[book.Reason][]string{}
	for _, r := range d.Removed {
		removed[r.Reason] = append(removed[r.Reason], strings.TrimSpace(r.Text))
	}
	for _, reason := range slices.Sorted(maps.Keys(removed)) {
		texts := removed[reason]
		fmt.Fprintf(&b, "%7d  %s: %.100q\n", len(texts), reason, strings.Join(texts[:min(len(texts), 8)], " "))
	}
	return b.String()
}

// markedParts tells how much of a book only helps to find one's way in it.
func markedParts(d *book.Document) string {
	words := map[book.Part]int{}
	for i := range d.Blocks {
		if b := &d.Blocks[i]; b.Part != "" {
			words[b.Part] += len(strings.Fields(b.Text))
		}
	}
	var parts []string
	for _, part := range slices.Sorted(maps.Keys(words)) {
		parts = append(parts, fmt.Sprintf("%s (%d words)", part, words[part]))
	}
	if len(parts) == 0 {
		return ""
	}
	return "\nRecognized, and kept in the text: " + strings.Join(parts, ", ") + "\n"
}

// unreadPages tells which pages of a PDF gave no text, those with one reason together.
func unreadPages(d *book.Document) string {
	var b strings.Builder
	for i := 0; i < len(d.Unread); {
		end := i
		var pages []string
		for end < len(d.Unread) && d.Unread[end].Why == d.Unread[i].Why {
			pages = append(pages, strconv.Itoa(d.Unread[end].Page))
			end++
		}
		more := ""
		if len(pages) > 20 {
			pages, more = pages[:20], fmt.Sprintf(" and %d more", len(pages)-20)
		}
		fmt.Fprintf(&b, "\nNot read, of %d pages: %s%s: %s\n", d.Pages, strings.Join(pages, ", "), more, d.Unread[i].Why)
		i = end
	}
	return b.String()
}

// blockKinds counts the blocks of each kind, the most frequent first.
func blockKinds(d *book.Document) string {
	counts := map[book.Kind]int{}
	for _, block := range d.Blocks {
		counts[block.Kind]++
	}
	kinds := slices.SortedFunc(maps.Keys(counts), func(a, b book.Kind) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	parts := make([]string, len(kinds))
	for i, kind := range kinds {
		parts[i] = fmt.Sprintf("%d %s", counts[kind], kind)
	}
	return strings.Join(parts, ", ")
}
