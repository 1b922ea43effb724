// Package pdf takes the pages of PDF files apart into words with their boxes and fonts, and draws pages as pictures.
//
// PDFium does it, as WebAssembly: its memory is bounded, it sees no file but the one that it is given, and it is
// stopped when it takes too long. It starts with the first file that is opened.
//
// To be stopped within this process, its code has to look up at every turn of a loop, which makes it five times as
// slow. Programs that call Serve have it run at full speed in processes of their own, which can be killed.
package pdf

import (
	"errors"
	"time"
)

// Limits of what one file may take.
const (
	maxMemory    = 512 << 20 // bytes of WebAssembly memory for each File
	maxPageChars = 200_000
	maxBookmarks = 20_000
	maxBookLevel = 8
	maxPixels    = 64 << 20 // of a page that is drawn
)

// pageTime is how long one call may take.
var pageTime = 20 * time.Second

// startTime is how long PDFium may take to start.
const startTime = 5 * time.Minute

// The reasons why a file or a page is not read.
var (
	ErrLocked  = errors.New("a password is needed to read it")
	ErrNoPDF   = errors.New("it is no PDF file, or it is damaged")
	ErrBroken  = errors.New("it is damaged, or needs more memory than any page")
	ErrTime    = errors.New("it takes too long to read")
	ErrTooMuch = errors.New("it has more characters than any page")
)

// reasons are the errors that cross from one process to another, by their texts.
var reasons = []error{ErrLocked, ErrNoPDF, ErrBroken, ErrTime, ErrTooMuch}

// A Head is what a file says of itself.
type Head struct {
	Pages         int
	Title, Author string
	Outline       []Bookmark
}

// A Bookmark is an entry of the outline.
type Bookmark struct {
	Title string
	Level int // 1 for the outermost
	Page  int // from 0; -1 where it leads to none
}

// An engine reads one file.
type engine interface {
	open(data []byte) error
	head() (Head, error)
	page(i int) (*Page, error)
	png(i, dpi int) ([]byte, error)
	close()
}

// A File is an open PDF. It is for one goroutine; several Files of the same bytes work at the same time.
type File struct {
	data []byte
	engine
	ready bool
}

// Open opens a file. The error is ErrLocked, ErrNoPDF, ErrTime or a failure to start PDFium.
func Open(data []byte) (*File, error) {
	f := &File{data: data}
	if served {
		f.engine = new(child)
	} else {
		f.engine = &pdfium{stoppable: true}
	}
	return f, f.start()
}

// start gives the file to a fresh engine, if the last one failed.
func (f *File) start() error {
	if f.ready {
		return nil
	}
	err := f.open(f.data)
	if f.ready = err == nil; !f.ready {
		f.close()
	}
	return err
}

// fresh lets no call follow on one that failed: its engine's memory may be spoiled.
func (f *File) fresh(err error) error {
	if err != nil {
		f.Close()
	}
	return err
}

// Close ends the engine of the file. A call after it begins another one.
func (f *File) Close() {
	f.ready = false
	f.close()
}

// Head reads what the file says of itself.
func (f *File) Head() (Head, error) {
	if err := f.start(); err != nil {
		return Head{}, err
	}
	h, err := f.head()
	return h, f.fresh(err)
}

// Page takes a page apart, the first being 0.
func (f *File) Page(i int) (*Page, error) {
	if err := f.start(); err != nil {
		return nil, err
	}
	p, err := f.page(i)
	return p, f.fresh(err)
}

// PNG draws a page with so many dots per inch, or with less where it would be too large.
func (f *File) PNG(i, dpi int) ([]byte, error) {
	if err := f.start(); err != nil {
		return nil, err
	}
	png, err := f.png(i, dpi)
	return png, f.fresh(err)
}
