package book

import (
	"bytes"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/lentil-lm/lentil/fault"
)

// unescape undoes the percent signs of an address.
func unescape(ref string) (string, error) { return url.PathUnescape(ref) }

// container is META-INF/container.xml: where the package file lies.
type container struct {
	Roots []struct {
		Path string `xml:"full-path,attr"`
	} `xml:"rootfiles>rootfile"`
}

// packageFile says what an EPUB holds, and in which order it is read.
type packageFile struct {
	Titles    []string       `xml:"metadata>title"`
	Creators  []string       `xml:"metadata>creator"`
	Languages []string       `xml:"metadata>language"`
	Manifest  []manifestItem `xml:"manifest>item"`
	Spine     struct {
		TOC   string `xml:"toc,attr"`
		Items []struct {
			ID string `xml:"idref,attr"`
		} `xml:"itemref"`
	} `xml:"spine"`
}

type manifestItem struct {
	ID         string `xml:"id,attr"`
	Href       string `xml:"href,attr"`
	Type       string `xml:"media-type,attr"`
	Properties string `xml:"properties,attr"`
}

// encryption is META-INF/encryption.xml: the files that are locked. Fonts are so in books that anybody may read.
type encryption struct {
	Files []struct {
		URI string `xml:"URI,attr"`
	} `xml:"EncryptedData>CipherData>CipherReference"`
}

// ncx is the table of contents of EPUB 2.
type ncx struct {
	Points []navPoint `xml:"navMap>navPoint"`
}

type navPoint struct {
	Label   string `xml:"navLabel>text"`
	Content struct {
		Src string `xml:"src,attr"`
	} `xml:"content"`
	Points []navPoint `xml:"navPoint"`
}

// titles are what a table of contents calls places: by file, then by id in it; "" is the begin of the file.
type titles map[string]map[string]string

// add keeps the first title of a place.
func (t titles) add(from, ref, title string) {
	file, id, ok := beside(from, ref)
	title = strings.Join(strings.Fields(title), " ")
	if !ok || title == "" {
		return
	}
	if t[file] == nil {
		t[file] = map[string]string{}
	}
	if _, there := t[file][id]; !there {
		t[file][id] = shorten(title)
	}
}

// readEPUB reads the files of an EPUB's spine in their order.
func readEPUB(name string, data []byte) (*Document, error) {
	a, err := openArchive(name, data)
	if err != nil {
		return nil, err
	}
	var c container
	if err := a.readXML("META-INF/container.xml", &c); err != nil {
		return nil, err
	}
	if len(c.Roots) == 0 {
		return nil, fault.Of("%s names no package file", a.in("META-INF/container.xml")).Try("Get the file again.")
	}
	root := c.Roots[0].Path
	var p packageFile
	if err := a.readXML(root, &p); err != nil {
		return nil, err
	}
	spine, err := a.spine(root, &p)
	if err != nil {
		return nil, err
	}
	if err := a.checkLocks(spine); err != nil {
		return nil, err
	}
	chapters, err := a.contents(root, &p)
	if err != nil {
		return nil, err
	}
	w := newWriter(name)
	w.doc.Encoding = "utf-8"
	w.doc.Title, w.doc.Language, w.doc.Authors = first(p.Titles), first(p.Languages), p.Creators
	for _, file := range spine {
		if err := a.addPage(w, file, chapters[file]); err != nil {
			return nil, err
		}
	}
	return w.done()
}

// addPage adds one file of the spine.
func (a *archive) addPage(w *writer, file string, chapters map[string]string) error {
	data, err := a.read(file)
	if err != nil {
		return err
	}
	text, encoding := decode(data, true)
	if encoding != "utf-8" {
		w.doc.Encoding = encoding
	}
	if chapter, ok := chapters[""]; ok {
		w.chapter = chapter
	}
	return w.html(a.in(file), closeTags(text), chapters)
}

// spine is the files of the text, in order. Those that are no pages (pictures, say) are left out.
func (a *archive) spine(root string, p *packageFile) ([]string, error) {
	if len(p.Spine.Items) > maxSpine {
		return nil, tooMuch(a.in(root), "files in its spine", maxSpine)
	}
	byID := map[string]manifestItem{}
	for _, item := range p.Manifest {
		byID[item.ID] = item
	}
	var files []string
	for _, ref := range p.Spine.Items {
		item, ok := byID[ref.ID]
		if !ok {
			return nil, fault.Of("%s: the spine names %q, which the manifest does not list", a.in(root), ref.ID).Try("Save the book anew with a book program.")
		}
		if item.Type != "application/xhtml+xml" && item.Type != "text/html" && item.Type != "text/x-oeb1-document" {
			continue
		}
		file, _, ok := beside(root, item.Href)
		if !ok {
			return nil, fault.Of("%s: %q lies outside of the book", a.in(root), item.Href).Try("This file is not to be trusted.")
		}
		if !slices.Contains(files, file) { // a page that is shown twice is one text
			files = append(files, file)
		}
	}
	return files, nil
}

// checkLocks refuses a book whose text is encrypted.
func (a *archive) checkLocks(spine []string) error {
	const file = "META-INF/encryption.xml"
	if a.files[file] == nil {
		return nil
	}
	var e encryption
	if err := a.readXML(file, &e); err != nil {
		return err
	}
	text := map[string]bool{}
	for _, file := range spine {
		text[file] = true
	}
	for _, f := range e.Files {
		if locked, err := unescape(f.URI); err == nil && text[locked] {
			return fault.Of("%s is encrypted", a.in(locked)).Try("Lentil reads no books that are locked: give a copy that you may read without a key.")
		}
	}
	return nil
}

// contents reads the table of contents: the nav page of EPUB 3, else the ncx of EPUB 2. A book may be without.
func (a *archive) contents(root string, p *packageFile) (titles, error) {
	t := titles{}
	for _, item := range p.Manifest {
		file, _, ok := beside(root, item.Href)
		if ok && slices.Contains(strings.Fields(item.Properties), "nav") && a.files[file] != nil {
			return t, a.readNav(file, t)
		}
	}
	for _, item := range p.Manifest {
		file, _, ok := beside(root, item.Href)
		if ok && (item.ID == p.Spine.TOC || item.Type == "application/x-dtbncx+xml") && a.files[file] != nil {
			var n ncx
			if err := a.readXML(file, &n); err != nil {
				return nil, err
			}
			t.points(file, n.Points)
			return t, nil
		}
	}
	return t, nil
}

// points adds the entries of an ncx, those within others after them. readXML bounds how deep they nest.
func (t titles) points(file string, points []navPoint) {
	for _, p := range points {
		t.add(file, p.Content.Src, p.Label)
		t.points(file, p.Points)
	}
}

// readNav adds the links of a nav page's table of contents.
func (a *archive) readNav(file string, t titles) error {
	data, err := a.read(file)
	if err != nil {
		return err
	}
	if bytes.Count(data, []byte("<")) > maxTags {
		return tooMuch(a.in(file), "tags", maxTags)
	}
	text, _ := decode(data, true)
	page, err := html.Parse(bytes.NewReader(closeTags(text)))
	if err != nil {
		return fault.Of("%s: %w", a.in(file), err).Try("Save the book anew with a book program.")
	}
	for nav := range page.Descendants() {
		if nav.DataAtom != atom.Nav || !says(nav, []string{"toc", "doc-toc"}) {
			continue
		}
		for link := range nav.Descendants() {
			if link.DataAtom == atom.A {
				t.add(file, attribute(link, "href"), content(link))
			}
		}
		return nil
	}
	return nil
}

func first(list []string) string {
	for _, s := range list {
		if s = strings.Join(strings.Fields(s), " "); s != "" {
			return s
		}
	}
	return ""
}

// selfClosed is an element of XML that is closed where it begins.
var selfClosed = regexp.MustCompile(`<([A-Za-z][\w.:-]*)((?:[^<>"']|"[^"<]*"|'[^'<]*')*)/>`)

// voids are the elements that HTML closes by itself.
var voids = []string{"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}

// closeTags writes <a/> of XML as <a></a>: to HTML it would be <a>, and a <title/> would swallow the page.
func closeTags(page []byte) []byte {
	return selfClosed.ReplaceAllFunc(page, func(tag []byte) []byte {
		m := selfClosed.FindSubmatch(tag)
		if slices.Contains(voids, strings.ToLower(string(m[1]))) {
			return tag
		}
		return slices.Concat([]byte("<"), m[1], m[2], []byte("></"), m[1], []byte(">"))
	})
}
