package cli

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/book"
	"github.com/lentil-lm/lentil/fault"
)

func newDatasetRead(streams Streams) *cobra.Command {
	var jsonPath string
	var markdown bool
	cmd := &cobra.Command{
		Use:   "read BOOK",
		Short: "Show what was understood of a book, and what was left out of it",
		Long: `Read a book and show how it was understood: its headings, how many blocks of each
kind it has, and what was left out of its text, such as page numbers and marks of
notes. Books are PDF, EPUB 2 and 3, DOCX, HTML, Markdown and plain
text files.`,
		Example: `  lentil dataset read book.epub
  lentil dataset read book.epub --markdown > book.md
  lentil dataset read book.html --json book.json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fault.Of("found %d books, expected one", len(args)).Try("Usage: %s", cmd.UseLine())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			d, err := book.Open(args[0])
			if err != nil {
				return fault.Mark(err)
			}
			if markdown {
				_, err = io.WriteString(streams.Out, d.Markdown())
			} else {
				_, err = io.WriteString(streams.Out, bookSummary(args[0], d))
			}
			if err != nil {
				return err
			}
			return writeFigures(jsonPath, d)
		},
	}
	group(cmd, "Flags", func(f *pflag.FlagSet) {
		f.BoolVar(&markdown, "markdown", false, "print the whole book as Markdown")
		f.StringVar(&jsonPath, "json", "", "also write all blocks, and all that was left out, to a `file`")
	})
	return cmd
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
