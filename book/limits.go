package book

import "github.com/lentil-lm/lentil/fault"

// Limits of what a file may hold. The longest books are far below them: "War and Peace" has 3.3 million characters, and
// its HTML about 30,000 tags.
const (
	maxText       = 64 << 20  // bytes of a plain text
	maxMarkup     = 64 << 20  // bytes of one file of HTML, unpacked
	maxBook       = 512 << 20 // bytes of an EPUB, pictures included
	maxUnpack     = 256 << 20 // bytes that are unpacked of an EPUB, in all
	maxFiles      = 20_000    // in an EPUB
	maxSpine      = 10_000    // files that an EPUB's text lies in
	maxTags       = 1 << 20   // "<" in the markup of a book: each takes about 100 bytes of memory
	maxBlocks     = 1 << 20   // and as many removals
	maxDepth      = 100       // elements within each other in XML
	maxNested     = 200       // marks of quotes, lists and brackets at the begin of a line of Markdown
	maxMarks      = 2000      // of emphasis and links in a paragraph of Markdown; more are plain text
	maxReferences = 10_000    // lines of Markdown that begin with "[", one after another
	maxMarkdown   = 16 << 20  // bytes of Markdown
	maxTitle      = 300       // bytes of a heading or chapter as the blocks below it repeat it
	maxPages      = 10_000    // of a PDF
	maxPageWords  = 6000      // of a page of a PDF that is layed out; those with more (a newspaper's has 5000) are read as they come
	maxPDFWords   = 4 << 20   // of a PDF: each takes about 150 bytes of memory
	maxSlow       = 5         // pages of a PDF that take too long; after them no more are tried
	maxFailures   = 50        // pages of a PDF that cannot be read; after them no more are tried
	maxSpan       = 64        // columns that a cell of a table takes, and rows
	maxList       = 32        // lists within each other; deeper ones are shown at this depth
)

// tooMuch is a file past a limit.
func tooMuch(name, what string, most int) error {
	return fault.Of("%s has more than %d %s, the most that is read", name, most, what).Try("If this is a book, split it or save it in another format.")
}
