package book

import (
	"archive/zip"
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// zipOf packs files, given as name and content in turn.
func zipOf(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		w, err := z.Create(files[i])
		if err == nil {
			_, err = w.Write([]byte(files[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const testContainer = `<?xml version="1.0"?><container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>`

// testPackage has the pages two, one and notes in its spine, in this order; more is put into the manifest.
func testPackage(more, toc string) string {
	return `<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:title>Pulses &amp; Grains</dc:title><dc:creator>A. Cook</dc:creator><dc:creator>B. Baker</dc:creator><dc:language>en</dc:language></metadata><manifest>
<item id="a" href="text/one.xhtml" media-type="application/xhtml+xml"/><item id="b" href="text/tw%6f.xhtml" media-type="application/xhtml+xml"/>
<item id="n" href="text/notes.xhtml" media-type="application/xhtml+xml"/><item id="p" href="p.png" media-type="image/png"/>` + more + `</manifest>
<spine toc="` + toc + `"><itemref idref="b"/><itemref idref="a"/><itemref idref="p"/><itemref idref="n" linear="no"/></spine></package>`
}

const (
	testTwo = `<?xml version="1.0" encoding="utf-8"?><html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops"><head><title/></head><body>
<p>Before.</p><h1 id="peas">Peas</h1><p>Green<a epub:type="noteref" href="notes.xhtml#n1">1</a>.<span epub:type="pagebreak" title="7" id="p7"/></p><p><a id="x"/>More.</p></body></html>`
	testOne   = `<html><body><h1>Oats</h1><p>Rolled.</p></body></html>`
	testNotes = `<html xmlns:epub="http://www.idpf.org/2007/ops"><body><section epub:type="endnotes"><ol><li id="n1"><p>Garden peas.</p></li></ol></section></body></html>`
	testNav   = `<html xmlns:epub="http://www.idpf.org/2007/ops"><body><nav epub:type="landmarks"><a href="text/one.xhtml">Wrong</a></nav>
<nav epub:type="toc"><ol><li><a href="text/two.xhtml">Start</a><ol><li><a href="text/two.xhtml#peas">On  peas</a></li></ol></li><li><a href="text/one.xhtml">On oats</a></li></ol></nav></body></html>`
	testNCX = `<?xml version="1.0"?><!DOCTYPE ncx PUBLIC "-//NISO//DTD ncx 2005-1//EN" "http://www.daisy.org/z3986/2005/ncx-2005-1.dtd"><ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><navMap>
<navPoint><navLabel><text>Start</text></navLabel><content src="text/two.xhtml"/><navPoint><navLabel><text>On peas</text></navLabel><content src="text/two.xhtml#peas"/></navPoint></navPoint>
<navPoint><navLabel><text>On oats</text></navLabel><content src="text/one.xhtml"/></navPoint></navMap></ncx>`
)

// testEPUB is a book of version 2 or 3, with more files, or others in the place of its own.
func testEPUB(t testing.TB, version int, other ...string) []byte {
	files := []string{"mimetype", "application/epub+zip", "META-INF/container.xml", testContainer}
	if version == 3 {
		files = append(files, "OEBPS/book.opf", testPackage(`<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>`, ""), "OEBPS/nav.xhtml", testNav)
	} else {
		files = append(files, "OEBPS/book.opf", testPackage(`<item id="ncx" href="toc.ncx" media-type="application/x-dtbncx+xml"/>`, "ncx"), "OEBPS/toc.ncx", testNCX)
	}
	files = append(files, "OEBPS/text/one.xhtml", testOne, "OEBPS/text/two.xhtml", testTwo, "OEBPS/text/notes.xhtml", testNotes)
	for i := 0; i < len(other); i += 2 {
		at := 0
		for at < len(files) && files[at] != other[i] {
			at += 2
		}
		files = append(files[:at:at], append([]string{other[i], other[i+1]}, files[min(at+2, len(files)):]...)...)
	}
	return zipOf(t, files...)
}

// TestEPUB: both versions are read in the order of the spine, with the titles of their tables of contents.
func TestEPUB(t *testing.T) {
	t.Parallel()
	for version := 2; version <= 3; version++ {
		d := mustOpen(t, "book.epub", string(testEPUB(t, version)))
		if d.Title != "Pulses & Grains" || strings.Join(d.Authors, ", ") != "A. Cook, B. Baker" || d.Language != "en" || d.Format != "epub" {
			t.Errorf("%q, %q, %q", d.Title, d.Authors, d.Language)
		}
		var b strings.Builder
		for _, block := range d.Blocks {
			fmt.Fprintf(&b, "%s [%s] page %q: %s\n", block.Kind, block.Chapter, block.Page, block.Text)
		}
		same(t, b.String(), `
paragraph [Start] page "": Before.
heading [On peas] page "": Peas
paragraph [On peas] page "": Green.
paragraph [On peas] page "7": More.
heading [On oats] page "7": Oats
paragraph [On oats] page "7": Rolled.
note [On oats] page "7": Garden peas.
`)
		if len(d.Removed) != 1 || d.Removed[0].Text != "1" || d.Removed[0].Reason != NoteMark {
			t.Errorf("removed %+v", d.Removed)
		}
	}
}

// TestHostileEPUB: bombs, paths that lead out, locks and damage are refused by name. Short tests leave out the two bombs.
func TestHostileEPUB(t *testing.T) {
	t.Parallel()
	opf := "OEBPS/book.opf"
	pages := func(n int, size int) []byte { // none in short tests; a spine whose pages unpack to n times size bytes
		if testing.Short() {
			return nil
		}
		var items, refs strings.Builder
		other := []string{}
		for i := range n {
			fmt.Fprintf(&items, `<item id="i%d" href="%d.html" media-type="text/html"/>`, i, i)
			fmt.Fprintf(&refs, `<itemref idref="i%d"/>`, i)
			other = append(other, fmt.Sprintf("OEBPS/%d.html", i), strings.Repeat(" ", size))
		}
		return testEPUB(t, 2, append(other, opf, `<package><manifest>`+items.String()+`</manifest><spine>`+refs.String()+`</spine></package>`)...)
	}
	lock := func(uri string) string {
		return `<encryption xmlns:enc="http://www.w3.org/2001/04/xmlenc#"><enc:EncryptedData><enc:CipherData><enc:CipherReference URI="` + uri + `"/></enc:CipherData></enc:EncryptedData></encryption>`
	}
	good := testEPUB(t, 3)
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"bomb":         {pages(1, maxMarkup+1), "0.html has more than"},
		"many bombs":   {pages(5, maxMarkup-1), "bytes of unpacked text"},
		"deep":         {testEPUB(t, 3, opf, strings.Repeat("<a>", maxDepth+1)), "nested too deep"},
		"entities":     {testEPUB(t, 3, opf, `<!DOCTYPE p [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><package>&b;</package>`), "book.opf: "},
		"path":         {testEPUB(t, 3, opf, strings.Replace(testPackage("", ""), "text/one.xhtml", "../../../etc/passwd", 1)), "lies outside"},
		"address":      {testEPUB(t, 3, opf, strings.Replace(testPackage("", ""), "text/one.xhtml", "file:///etc/passwd", 1)), "lies outside"},
		"locked":       {testEPUB(t, 3, "META-INF/encryption.xml", lock("OEBPS/text/one.xhtml")), "one.xhtml is encrypted"},
		"missing":      {testEPUB(t, 3, "META-INF/container.xml", strings.Replace(testContainer, "book.opf", "nothere.opf", 1)), "nothere.opf is missing"},
		"no container": {zipOf(t, "a", "b"), "container.xml is missing"},
		"no spine":     {testEPUB(t, 3, opf, strings.Replace(testPackage("", ""), `idref="a"`, `idref="z"`, 1)), `"z", which the manifest does not list`},
		"twice":        {zipOf(t, "a", "b", "a", "c"), "two files named a"},
		"cut":          {good[:len(good)/2], "cut off"},
		"nested page":  {testEPUB(t, 3, "OEBPS/text/one.xhtml", strings.Repeat("<div>", 5000)), "one.xhtml: "},
	} {
		if c.data == nil {
			continue
		}
		if _, err := open(t, "book.epub", string(c.data)); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %.300v, expected %q and a remedy", name, err, c.want)
		}
	}
	mustOpen(t, "fonts.epub", string(testEPUB(t, 3, "META-INF/encryption.xml", lock("OEBPS/fonts/a.ttf")))) // anybody may read that
}

// TestBeside: a reference stays within the book.
func TestBeside(t *testing.T) {
	t.Parallel()
	for ref, want := range map[string]string{
		"a.html": "x/a.html", "a.html#b": "x/a.html b", "../a.html": "a.html", "#b": "x/y.opf b", "%2e%2e/a": "a",
		"../../a": "", "%2e%2e/../a": "", "/a": "", `..\a`: "", "http://a/b": "", "%zz": "",
	} {
		name, id, ok := beside("x/y.opf", ref)
		if got := strings.TrimSpace(name + " " + id); ok != (want != "") || ok && got != want {
			t.Errorf("%s: %q, %v, expected %q", ref, got, ok, want)
		}
	}
}
