package pdf

import (
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/klippa-app/go-pdfium/references"
	"github.com/klippa-app/go-pdfium/requests"
)

// A Page is the words of a page in the order of the file, which may be any.
type Page struct {
	Label         string  // its number as the file calls it ("xii"), empty where it does not
	Width, Height float64 // in points, as the page is shown
	Blank         bool    // there is nothing on it
	Words         []Word
	Rules         []Rule
}

// A Word is a run of characters of one font with no space in it. Lengths are in points, from the lower left corner of
// the page as it is shown.
type Word struct {
	Text                     string
	Left, Bottom, Right, Top float64
	Base                     float64 // height of its base line
	Size                     float64 // of its font
	Font                     string
	Bold, Italic             bool
	Glued                    bool // no space stands between it and the word before
	Turned                   bool // it runs in another direction than from left to right

	x, y float64 // of its first character's origin, if it is Turned
}

func (f *pdfium) page(i int) (p *Page, err error) {
	if f.handles > maxHandles {
		f.close()
		if err := f.open(f.data); err != nil {
			return nil, err
		}
	}
	err = f.limit(func() error {
		p, err = f.read(i)
		return err
	})
	return p, err
}

func (f *pdfium) read(page int) (*Page, error) {
	ref := f.ref(page)
	size, err := f.pdf.FPDF_GetPageSizeByIndex(&requests.FPDF_GetPageSizeByIndex{Document: f.doc, Index: page})
	if err != nil {
		return nil, ErrBroken
	}
	loaded, err := f.pdf.FPDFText_LoadPage(&requests.FPDFText_LoadPage{Page: ref})
	if err != nil {
		return nil, ErrBroken
	}
	text := loaded.TextPage
	defer f.pdf.FPDFText_ClosePage(&requests.FPDFText_ClosePage{TextPage: text})
	count, err := f.pdf.FPDFText_CountChars(&requests.FPDFText_CountChars{TextPage: text})
	switch {
	case err != nil:
		return nil, ErrBroken
	case count.Count > maxPageChars:
		return nil, ErrTooMuch
	}
	s := splitter{pdfium: f, text: text, all: f.characters(text, count.Count), page: &Page{Label: f.label(page), Width: size.Width, Height: size.Height}, fonts: map[fontKey]font{}}
	for i := range count.Count {
		if err := s.char(i); err != nil {
			return nil, err
		}
	}
	s.end()
	if objects, err := f.pdf.FPDFPage_CountObjects(&requests.FPDFPage_CountObjects{Page: ref}); err == nil {
		s.page.Blank = objects.Count == 0
	}
	if len(s.page.Words) > 0 {
		s.page.Rules = f.rules(ref)
	}
	if turn, err := f.pdf.FPDFPage_GetRotation(&requests.FPDFPage_GetRotation{Page: ref}); err == nil {
		s.page.turn(int(turn.PageRotation))
	}
	return s.page, nil
}

// turn gives the boxes of a page that is shown turned by quarters, clockwise, where they are shown.
func (p *Page) turn(quarters int) {
	if quarters &= 3; quarters == 0 {
		return
	}
	turn := func(l, b, r, t float64) (left, bottom, right, top float64) {
		switch quarters {
		case 1:
			return b, p.Height - r, t, p.Height - l
		case 2:
			return p.Width - r, p.Height - t, p.Width - l, p.Height - b
		}
		return p.Width - t, l, p.Width - b, r
	}
	for i := range p.Rules {
		r := &p.Rules[i]
		r.Left, r.Bottom, r.Right, r.Top = turn(r.Left, r.Bottom, r.Right, r.Top)
	}
	for i := range p.Words {
		w := &p.Words[i]
		w.Left, w.Bottom, w.Right, w.Top = turn(w.Left, w.Bottom, w.Right, w.Top)
		if w.Turned = !w.Turned; w.Turned {
			continue
		}
		switch quarters { // lines need what their words have in common
		case 1:
			w.Base = p.Height - w.x
		case 2:
			w.Base = p.Height - w.y
		case 3:
			w.Base = w.x
		}
		w.Bottom, w.Top = w.Base-0.2*w.Size, w.Base+0.8*w.Size
	}
}

// A splitter makes words of characters.
type splitter struct {
	*pdfium
	text  references.FPDF_TEXTPAGE
	all   []rune // the characters of the page, if PDFium's text has as many as it counts
	page  *Page
	fonts map[fontKey]font

	open  bool
	word  Word
	chars strings.Builder
	high  rune // the first half of a character beyond U+FFFF
	glued bool // no space came since the last word

	leftward bool    // the word runs from right to left
	ligature bool    // all letters so far may be those of a ligature
	drop     float64 // of the word's font
}

// isLigature tells whether a letter may have come out of a ligature: PDFium gives those boxes of their own ink.
func isLigature(r rune) bool { return strings.ContainsRune("filtsj", r) }

func (s *splitter) char(i int) error {
	r, err := s.character(i)
	if err != nil {
		return err
	}
	switch {
	case r == 0xfffe || r == 2: // whose box is that of the next line's begin
		if s.open {
			s.chars.WriteByte('-')
			return nil
		}
		r = '-'
	case utf16.IsSurrogate(r) && s.high == 0:
		s.high = r
		return nil
	case s.high != 0:
		r, s.high = utf16.DecodeRune(s.high, r), 0
	}
	if unicode.IsSpace(r) {
		s.end()
		s.glued = false
		return nil
	}
	if r < ' ' || r == 0x7f || r > unicode.MaxRune || r == 0xfeff {
		return nil
	}
	box, err := s.box(i)
	if err != nil {
		return err
	}
	if (r == '-' || r == '\u2010' || r == '\u00ad') && s.open && !box.turned && math.Abs(box.left-s.word.Right) < s.word.Size {
		s.word.Right = max(s.word.Right, box.right) // those at line ends have odd boxes
		s.chars.WriteRune(r)
		return nil
	}
	if r >= '0' && r <= '9' && !box.turned {
		s.raise(i, &box)
	}
	if s.open && !box.turned && !s.word.Turned && isLigature(r) && box.size < 0.9*s.word.Size && box.bottom >= s.word.Bottom-0.1*s.word.Size && box.top <= s.word.Top+0.1*s.word.Size {
		box.bottom, box.top, box.size = s.word.Bottom, s.word.Top, s.word.Size
	}
	if s.open && s.ligature && box.size > s.word.Size && box.bottom <= s.word.Bottom+0.1*box.size && box.left-s.word.Right < 0.3*box.size && box.left > s.word.Left {
		s.word.Size, s.word.Bottom, s.word.Top = box.size, box.bottom, box.top
		s.word.Base = box.bottom + s.drop*box.size
	}
	leftward := IsLeftward(r)
	if s.open && s.breaks(box, leftward) {
		gap := box.left - s.word.Right
		if back := s.word.Left - box.right; s.leftward || leftward || !unicode.IsLetter(r) && math.Abs(back) < math.Abs(gap) {
			gap = back
		}
		s.end()
		size := max(box.size, s.word.Size)
		s.glued = math.Abs(gap) < 0.15*size && math.Abs(box.bottom-s.word.Bottom) < 0.8*size
	}
	if !s.open {
		s.begin(i, box)
		s.ligature, s.leftward = true, false
	}
	s.leftward = s.leftward || leftward
	s.ligature = s.ligature && isLigature(r)
	s.word.Left, s.word.Right = min(s.word.Left, box.left), max(s.word.Right, box.right)
	s.word.Bottom, s.word.Top = min(s.word.Bottom, box.bottom), max(s.word.Top, box.top)
	s.chars.WriteRune(r)
	return nil
}

// characters are those of a page, in one call instead of one for each. Where the text leaves some out there are none.
func (f *pdfium) characters(text references.FPDF_TEXTPAGE, count int) []rune {
	r, err := f.pdf.FPDFText_GetText(&requests.FPDFText_GetText{TextPage: text, StartIndex: 0, Count: count})
	if err != nil {
		return nil
	}
	if all := []rune(strings.TrimSuffix(r.Text, "\x00")); len(all) == count && !slices.ContainsFunc(all, func(r rune) bool { return r == 0 || r > 0xffff || r == unicode.ReplacementChar }) {
		return all
	}
	return nil
}

func (s *splitter) character(i int) (rune, error) {
	if i < len(s.all) {
		return s.all[i], nil
	}
	code, err := s.pdf.FPDFText_GetUnicode(&requests.FPDFText_GetUnicode{TextPage: s.text, Index: i})
	if err != nil {
		return 0, ErrBroken
	}
	return rune(uint32(code.Unicode)), nil
}

// IsLeftward tells whether a letter is of a script that runs from right to left.
func IsLeftward(r rune) bool {
	return r >= 0x590 && unicode.In(r, unicode.Hebrew, unicode.Arabic, unicode.Syriac, unicode.Thaana, unicode.Nko)
}

// A box is that of a character, as high as its font.
type box struct {
	left, bottom, right, top, size float64
	turned                         bool
	raised                         float64 // the base line of a superscript digit
}

func (s *splitter) box(i int) (box, error) {
	loose, err := s.pdf.FPDFText_GetLooseCharBox(&requests.FPDFText_GetLooseCharBox{TextPage: s.text, Index: i})
	if err != nil {
		if s.open { // a mark without a place of its own
			return box{left: s.word.Right, bottom: s.word.Bottom, right: s.word.Right, top: s.word.Top, size: s.word.Size, turned: s.word.Turned}, nil
		}
		return box{}, nil
	}
	b := box{left: float64(loose.Rect.Left), bottom: float64(loose.Rect.Bottom), right: float64(loose.Rect.Right), top: float64(loose.Rect.Top)}
	if w := &s.word; s.open && !w.Turned && b.bottom == w.Bottom && b.top == w.Top && b.left >= w.Left && b.left < w.Right+0.3*w.Size && b.top-b.bottom > 0.5 {
		b.size = b.top - b.bottom // it goes on as the word did
		return b, nil
	}
	angle, err := s.pdf.FPDFText_GetCharAngle(&requests.FPDFText_GetCharAngle{TextPage: s.text, Index: i})
	if b.turned = err == nil && math.Abs(math.Sin(float64(angle.CharAngle))) > 0.1; b.turned {
		b.size = max(b.right-b.left, 1)
		return b, nil
	}
	if b.size = b.top - b.bottom; b.size < 0.5 { // upside down, or of no font's height: the ink alone
		if ink, err := s.pdf.FPDFText_GetCharBox(&requests.FPDFText_GetCharBox{TextPage: s.text, Index: i}); err == nil {
			b.left, b.bottom, b.right, b.top = ink.Left, ink.Bottom, ink.Right, ink.Top
		}
		b.size = max(b.top-b.bottom, 1)
	}
	return b, nil
}

// raise finds digits that the font itself has as superscripts: their ink ends far above the base line.
func (s *splitter) raise(i int, b *box) {
	ink, err := s.pdf.FPDFText_GetCharBox(&requests.FPDFText_GetCharBox{TextPage: s.text, Index: i})
	if err != nil {
		return
	}
	if base := b.bottom + s.font(i, b.size).drop*b.size; ink.Bottom-base > 0.2*b.size && ink.Top-ink.Bottom > 0.2*b.size {
		b.raised = ink.Bottom
		b.bottom, b.top, b.size = ink.Bottom, ink.Bottom+0.6*b.size, 0.6*b.size
	}
}

// breaks tells whether a character begins another word though no space stands before it.
func (s *splitter) breaks(b box, leftward bool) bool {
	w := &s.word
	if b.turned || w.Turned {
		return b.turned != w.Turned
	}
	gap := b.left - w.Right
	if s.leftward {
		gap = w.Left - b.right
	} else if leftward {
		return true
	}
	return gap > 0.3*w.Size || gap < -1.5*w.Size || math.Abs(b.bottom-w.Bottom) > 0.12*w.Size || math.Abs(b.size-w.Size) > 0.1*w.Size
}

func (s *splitter) begin(i int, b box) {
	s.open = true
	f := s.font(i, b.size)
	s.word = Word{Left: b.left, Right: b.right, Bottom: b.bottom, Top: b.top, Size: b.size, Glued: s.glued,
		Turned: b.turned, Font: f.name, Bold: f.bold, Italic: f.italic}
	s.drop = f.drop
	s.word.Base = b.bottom + f.drop*b.size
	if b.raised != 0 {
		s.word.Base = b.raised
	}
	if b.turned {
		s.turned(i)
	}
}

// turned takes the size and the place of a turned word from its first character.
func (s *splitter) turned(i int) {
	if origin, err := s.pdf.FPDFText_GetCharOrigin(&requests.FPDFText_GetCharOrigin{TextPage: s.text, Index: i}); err == nil {
		s.word.x, s.word.y = origin.X, origin.Y
	}
	size, err := s.pdf.FPDFText_GetFontSize(&requests.FPDFText_GetFontSize{TextPage: s.text, Index: i})
	matrix, err2 := s.pdf.FPDFText_GetMatrix(&requests.FPDFText_GetMatrix{TextPage: s.text, Index: i})
	if err == nil && err2 == nil {
		if n := size.FontSize * math.Hypot(float64(matrix.Matrix.C), float64(matrix.Matrix.D)); n > 0.5 {
			s.word.Size = n
		}
	}
}

func (s *splitter) end() {
	if s.open {
		s.word.Text = strings.ToValidUTF8(s.chars.String(), "\ufffd")
		s.page.Words = append(s.page.Words, s.word)
		s.chars.Reset()
		s.open, s.glued = false, true
	}
}

// A font of a page; drop is how far its boxes reach below the base line, as a share of its size.
type font struct {
	name         string
	bold, italic bool
	drop         float64
}

type fontKey struct {
	name  string
	flags int
}

func (s *splitter) font(i int, size float64) font {
	info, err := s.pdf.FPDFText_GetFontInfo(&requests.FPDFText_GetFontInfo{TextPage: s.text, Index: i})
	if err != nil {
		return font{drop: 0.2}
	}
	key := fontKey{info.FontName, info.Flags}
	if f, ok := s.fonts[key]; ok {
		return f
	}
	name := info.FontName
	if len(name) > 7 && name[6] == '+' {
		name = name[7:]
	}
	f := font{name: name, bold: isBold(name) || info.Flags&(1<<18) != 0, italic: isItalic(name) || info.Flags&(1<<6) != 0, drop: 0.2}
	origin, err := s.pdf.FPDFText_GetCharOrigin(&requests.FPDFText_GetCharOrigin{TextPage: s.text, Index: i})
	loose, err2 := s.pdf.FPDFText_GetLooseCharBox(&requests.FPDFText_GetLooseCharBox{TextPage: s.text, Index: i})
	if err == nil && err2 == nil && size > 0.5 {
		if drop := (origin.Y - float64(loose.Rect.Bottom)) / size; drop > 0 && drop < 0.6 {
			f.drop = drop
		}
	}
	s.fonts[key] = f
	return f
}

// isBold goes by the name of a font: "Times-Bold", "CMBX10", "NimbusRomNo9L-Medi".
func isBold(name string) bool {
	name = strings.ToLower(name)
	for _, word := range []string{"bold", "black", "heavy", "demi", "cmbx", "cmb1", "sfbx", "-medi", "semibd"} {
		if strings.Contains(name, word) && !strings.Contains(name, "medium") {
			return true
		}
	}
	return strings.HasSuffix(name, "-b") || strings.HasSuffix(name, "-bd")
}

func isItalic(name string) bool {
	name = strings.ToLower(name)
	for _, word := range []string{"italic", "oblique", "cmti", "cmsl", "sfti", "-it", "slanted"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}
