package book

import (
	"fmt"
	"strings"
	"testing"
)

const (
	docxHead   = `<?xml version="1.0" encoding="UTF-8"?>`
	docxStyles = docxHead + `<w:styles xmlns:w="w"><w:style w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style><w:style w:styleId="Mine"><w:name w:val="Mine"/><w:basedOn w:val="H2"/></w:style>
<w:style w:styleId="H2"><w:name w:val="My Head"/><w:pPr><w:outlineLvl w:val="1"/></w:pPr></w:style><w:style w:styleId="Loop"><w:name w:val="Loop"/><w:basedOn w:val="Loop"/></w:style>
<w:style w:styleId="Cap"><w:name w:val="caption"/></w:style><w:style w:styleId="Q"><w:name w:val="Quote"/></w:style><w:style w:styleId="Code"><w:name w:val="HTML Preformatted"/></w:style>
<w:style w:styleId="LB"><w:name w:val="List Bullet"/><w:pPr><w:numPr><w:numId w:val="1"/></w:numPr></w:pPr></w:style></w:styles>`
	docxNumbering = docxHead + `<w:numbering xmlns:w="w"><w:abstractNum w:abstractNumId="7"><w:lvl w:ilvl="0"><w:numFmt w:val="bullet"/></w:lvl><w:lvl w:ilvl="1"><w:numFmt w:val="decimal"/></w:lvl></w:abstractNum><w:num w:numId="1"><w:abstractNumId w:val="7"/></w:num></w:numbering>`
	docxNotes     = docxHead + `<w:footnotes xmlns:w="w"><w:footnote w:type="separator" w:id="0"><w:p><w:r><w:t>no</w:t></w:r></w:p></w:footnote><w:footnote w:id="2"><w:p><w:r><w:footnoteRef/><w:t xml:space="preserve"> Garden peas.</w:t></w:r></w:p></w:footnote></w:footnotes>`
	docxCore      = docxHead + `<cp:coreProperties xmlns:cp="cp" xmlns:dc="dc"><dc:title>Pulses &amp; Grains</dc:title><dc:creator>A. Cook; B. Baker</dc:creator></cp:coreProperties>`
	docxHeader    = docxHead + `<w:hdr xmlns:w="w"><w:p><w:r><w:t>The Pulses</w:t></w:r></w:p></w:hdr>`
	docxBody      = `<w:p><w:pPr><w:pStyle w:val="berschrift1"/></w:pPr><w:r><w:t>Pe</w:t></w:r><w:r><w:t>as</w:t></w:r></w:p>
<w:p><w:pPr><w:pStyle w:val="Loop"/></w:pPr><w:r><w:t xml:space="preserve">Green </w:t><w:tab/><w:t>peas</w:t><w:footnoteReference w:id="2"/><w:t>, </w:t></w:r><w:del><w:r><w:delText>gone</w:delText></w:r></w:del><w:ins><w:r><w:t>new.</w:t></w:r></w:ins>
<w:r><w:instrText>PAGE</w:instrText><mc:AlternateContent xmlns:mc="mc"><mc:Choice><w:txbxContent><w:p><w:r><w:t>In a box</w:t></w:r></w:p></w:txbxContent></mc:Choice><mc:Fallback><w:t>twice</w:t></mc:Fallback></mc:AlternateContent></w:r></w:p>
<w:p><w:pPr><w:pStyle w:val="Mine"/></w:pPr><w:r><w:t>Split</w:t></w:r></w:p>
<w:p><w:pPr><w:pStyle w:val="LB"/></w:pPr><w:r><w:t>soak</w:t></w:r></w:p><w:p><w:pPr><w:numPr><w:ilvl w:val="1"/><w:numId w:val="1"/></w:numPr></w:pPr><w:r><w:t>rinse</w:t></w:r></w:p><w:p><w:pPr><w:pStyle w:val="LB"/></w:pPr><w:r><w:t>boil &lt; 1 h</w:t></w:r></w:p>
<w:tbl><w:tr><w:tc><w:tcPr><w:gridSpan w:val="2"/></w:tcPr><w:p><w:r><w:t>Food</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:lastRenderedPageBreak/><w:t>kcal</w:t></w:r></w:p></w:tc></w:tr>
<w:tr><w:tc><w:p><w:r><w:t>Peas</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>dry</w:t></w:r></w:p><w:p><w:r><w:t>split</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>341</w:t></w:r></w:p></w:tc></w:tr></w:tbl>
<w:p><w:pPr><w:pStyle w:val="Cap"/></w:pPr><w:r><w:t>Table 1</w:t></w:r></w:p><w:p><w:pPr><w:pStyle w:val="Q"/></w:pPr><w:hyperlink><w:r><w:t>Said.</w:t></w:r></w:hyperlink></w:p>
<w:p><w:pPr><w:pStyle w:val="Code"/></w:pPr><w:r><w:t>a</w:t><w:br/><w:t>b</w:t></w:r></w:p>`
)

// testDOCX is a text of Word's with a body, and other files in the place of its own.
func testDOCX(t testing.TB, body string, other ...string) []byte {
	files := []string{"word/document.xml", docxHead + `<w:document xmlns:w="w"><w:body>` + body + `</w:body></w:document>`, "word/styles.xml", docxStyles, "word/numbering.xml", docxNumbering,
		"word/footnotes.xml", docxNotes, "docProps/core.xml", docxCore, "word/header1.xml", docxHeader}
	for i := 0; i < len(files); i += 2 {
		for k := 0; k < len(other); k += 2 {
			if files[i] == other[k] {
				files[i+1] = other[k+1]
			}
		}
	}
	return zipOf(t, files...)
}

func TestDOCX(t *testing.T) {
	t.Parallel()
	d := mustOpen(t, "a.docx", string(testDOCX(t, docxBody)))
	same(t, tell(d), `
heading1 : "Peas"
paragraph Peas: "Green peas, new."
paragraph Peas: "In a box"
note Peas: "Garden peas."
heading2 Peas: "Split"
list Peas>Split 0 1 0: "soak\nrinse\nboil < 1 h"
table Peas>Split: "Food\t\tkcal\nPeas\tdry split\t341"
caption Peas>Split: "Table 1"
quote Peas>Split: "Said."
code Peas>Split: "a\nb"
`)
	if d.Title != "Pulses & Grains" || fmt.Sprint(d.Authors) != "[A. Cook B. Baker]" || d.Format != "docx" {
		t.Errorf("%q, %q, %s", d.Title, d.Authors, d.Format)
	}
	if b := d.Blocks; b[0].Page != "1" || b[7].Page != "2" {
		t.Errorf("pages %q, %q", b[0].Page, b[7].Page)
	}
	if got := fmt.Sprint(d.Removed); got != "[{0 The Pulses running head} {16 1 note mark}]" {
		t.Error(got)
	}
}

// TestHostileDOCX: damage, locks, bombs and what is no text of Word's are refused by name.
func TestHostileDOCX(t *testing.T) {
	t.Parallel()
	good := string(testDOCX(t, docxBody))
	for name, c := range map[string]struct{ data, want string }{
		"locked":   {"\xd0\xcf\x11\xe0\xa1\xb1", "is encrypted, or a file of an older Word"},
		"no zip":   {"text", "is no zip file"},
		"cut":      {good[:len(good)/2], "cut off"},
		"epub":     {string(testEPUB(t, 3)), "document.xml is missing"},
		"no body":  {string(testDOCX(t, "", "word/document.xml", "<a/>")), "has no body"},
		"entities": {string(testDOCX(t, "", "word/document.xml", `<!DOCTYPE a [<!ENTITY b "ccc">]><document><body><p><r><t>&b;</t></r></p></body></document>`)), "entity"},
		"deep":     {string(testDOCX(t, strings.Repeat("<w:tbl><w:tr><w:tc>", 2000)+strings.Repeat("</w:tc></w:tr></w:tbl>", 2000))), "nested too deep"},
		"many":     {string(testDOCX(t, strings.Repeat("<w:p/>", maxTags))), "tags"},
		"styles":   {string(testDOCX(t, docxBody, "word/styles.xml", "<a")), "styles.xml: "},
	} {
		if _, err := open(t, "a.docx", c.data); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %.300v, expected %q and a remedy", name, err, c.want)
		}
	}
}
