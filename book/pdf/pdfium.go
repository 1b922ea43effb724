package pdf

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	gopdfium "github.com/klippa-app/go-pdfium"
	pdferrors "github.com/klippa-app/go-pdfium/errors"
	"github.com/klippa-app/go-pdfium/references"
	"github.com/klippa-app/go-pdfium/requests"
	"github.com/klippa-app/go-pdfium/webassembly"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// pools are PDFium once for the process, as it can be stopped and as it cannot.
var stoppable, unstoppable = sync.OnceValues(newPool(true)), sync.OnceValues(newPool(false))

func newPool(stoppable bool) func() (gopdfium.Pool, error) {
	return func() (gopdfium.Pool, error) {
		folder := codeFolder()
		pool, err := startPool(stoppable, keepCode(folder))
		if err != nil && folder != "" { // the machine code may be damaged
			os.RemoveAll(folder)
			pool, err = startPool(stoppable, keepCode(folder))
		}
		return pool, err
	}
}

func startPool(stoppable bool, cache wazero.CompilationCache) (gopdfium.Pool, error) {
	config := wazero.NewRuntimeConfig().
		WithCoreFeatures(api.CoreFeaturesV2 | experimental.CoreFeaturesExceptionHandling).
		WithMemoryLimitPages(maxMemory / 65536).
		WithCloseOnContextDone(stoppable)
	if cache != nil {
		config = config.WithCompilationCache(cache)
	}
	return webassembly.Init(webassembly.Config{
		Context:       experimental.WithCompilationWorkers(context.Background(), runtime.GOMAXPROCS(0)),
		MaxTotal:      64,
		FSConfig:      wazero.NewFSConfig(), // no files
		RuntimeConfig: config,
		Stdout:        io.Discard, Stderr: io.Discard,
	})
}

// pdfium is the engine within this process.
type pdfium struct {
	stoppable bool
	pdf       gopdfium.Pdfium // nil where there is none, or it was stopped
	doc       references.FPDF_DOCUMENT
	data      []byte
	handles   int // that go-pdfium keeps until it is closed
}

func (f *pdfium) open(data []byte) error {
	f.data, f.handles = data, 0
	pool := unstoppable
	if f.stoppable {
		pool = stoppable
	}
	p, err := pool()
	if err != nil {
		return err
	}
	if f.pdf, err = p.GetInstance(startTime); err != nil {
		return err
	}
	return f.limit(func() error {
		doc, err := f.pdf.OpenDocument(&requests.OpenDocument{FileReader: bytes.NewReader(data), FileReaderSize: int64(len(data))})
		switch {
		case errors.Is(err, pdferrors.ErrPassword), errors.Is(err, pdferrors.ErrSecurity):
			return ErrLocked
		case err != nil:
			return ErrNoPDF
		}
		f.doc = doc.Document
		return nil
	})
}

// limit runs calls of PDFium and stops them after pageTime, if they can be.
func (f *pdfium) limit(work func() error) error {
	if f.pdf == nil {
		return ErrBroken
	}
	if !f.stoppable {
		return work()
	}
	late, instance := make(chan bool, 1), f.pdf
	done := make(chan struct{})
	go func() {
		timer := time.NewTimer(pageTime)
		defer timer.Stop()
		select {
		case <-done:
			late <- false
		case <-timer.C:
			instance.Kill()
			late <- true
		}
	}()
	err := work()
	close(done)
	if <-late {
		f.pdf = nil
		return ErrTime
	}
	return err
}

func (f *pdfium) close() {
	if f.pdf != nil {
		f.pdf.Close()
		f.pdf = nil
	}
}

func (f *pdfium) head() (h Head, err error) {
	err = f.limit(func() error {
		r, err := f.pdf.FPDF_GetPageCount(&requests.FPDF_GetPageCount{Document: f.doc})
		if err != nil {
			return ErrBroken
		}
		h.Pages = r.PageCount
		h.Title, h.Author = f.meta("Title"), f.meta("Author")
		f.bookmarks(nil, 1, &h.Outline)
		return nil
	})
	return h, err
}

// meta is an entry of the file's information.
func (f *pdfium) meta(tag string) string {
	r, err := f.pdf.FPDF_GetMetaText(&requests.FPDF_GetMetaText{Document: f.doc, Tag: tag})
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(r.Value), " ")
}

// bookmarks adds those below a parent. Loops of the file end at the limits.
func (f *pdfium) bookmarks(parent *references.FPDF_BOOKMARK, level int, marks *[]Bookmark) {
	child, err := f.pdf.FPDFBookmark_GetFirstChild(&requests.FPDFBookmark_GetFirstChild{Document: f.doc, Bookmark: parent})
	if err != nil {
		return
	}
	for at := child.Bookmark; at != nil && len(*marks) < maxBookmarks; {
		mark := Bookmark{Level: level, Page: -1}
		if title, err := f.pdf.FPDFBookmark_GetTitle(&requests.FPDFBookmark_GetTitle{Bookmark: *at}); err == nil {
			mark.Title = strings.Join(strings.Fields(title.Title), " ")
		}
		if dest, err := f.pdf.FPDFBookmark_GetDest(&requests.FPDFBookmark_GetDest{Document: f.doc, Bookmark: *at}); err == nil && dest.Dest != nil {
			if page, err := f.pdf.FPDFDest_GetDestPageIndex(&requests.FPDFDest_GetDestPageIndex{Document: f.doc, Dest: *dest.Dest}); err == nil {
				mark.Page = page.Index
			}
		} else if action, err := f.pdf.FPDFBookmark_GetAction(&requests.FPDFBookmark_GetAction{Bookmark: *at}); err == nil && action.Action != nil {
			if dest, err := f.pdf.FPDFAction_GetDest(&requests.FPDFAction_GetDest{Document: f.doc, Action: *action.Action}); err == nil && dest.Dest != nil {
				if page, err := f.pdf.FPDFDest_GetDestPageIndex(&requests.FPDFDest_GetDestPageIndex{Document: f.doc, Dest: *dest.Dest}); err == nil {
					mark.Page = page.Index
				}
			}
		}
		*marks = append(*marks, mark)
		if level < maxBookLevel {
			f.bookmarks(at, level+1, marks)
		}
		next, err := f.pdf.FPDFBookmark_GetNextSibling(&requests.FPDFBookmark_GetNextSibling{Document: f.doc, Bookmark: *at})
		if err != nil {
			return
		}
		at = next.Bookmark
	}
}

// label is the number of a page as the file calls it ("xii"), empty where it does not.
func (f *pdfium) label(page int) string {
	r, err := f.pdf.FPDF_GetPageLabel(&requests.FPDF_GetPageLabel{Document: f.doc, Page: page})
	if err != nil {
		return ""
	}
	return strings.TrimSpace(r.Label)
}

func (f *pdfium) ref(page int) requests.Page {
	return requests.Page{ByIndex: &requests.PageByIndex{Document: f.doc, Index: page}}
}

func (f *pdfium) png(page, dpi int) (png []byte, err error) {
	err = f.limit(func() error {
		size, err := f.pdf.FPDF_GetPageSizeByIndex(&requests.FPDF_GetPageSizeByIndex{Document: f.doc, Index: page})
		if err != nil || size.Width <= 0 || size.Height <= 0 {
			return ErrBroken
		}
		for dpi > 1 && size.Width/72*float64(dpi)*size.Height/72*float64(dpi) > maxPixels {
			dpi = dpi * 3 / 4
		}
		picture, err := f.pdf.RenderToFile(&requests.RenderToFile{
			RenderPageInDPI: &requests.RenderPageInDPI{Page: f.ref(page), DPI: dpi},
			OutputFormat:    requests.RenderToFileOutputFormatPNG, OutputTarget: requests.RenderToFileOutputTargetBytes,
		})
		if err != nil {
			return ErrBroken
		}
		png = *picture.ImageBytes
		return nil
	})
	return png, err
}
