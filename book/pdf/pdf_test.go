package pdf

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"image/png"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/internal/spoil"
)

func TestMain(m *testing.M) {
	Serve()
	os.Exit(m.Run())
}

// testFile has a page of text and a page of forms within forms.
func testFile(depth, times int) []byte {
	var b strings.Builder
	b.WriteString("%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R/PageLabels<</Nums[0<</S/r/St 4>>]>>>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R 6 0 R]/Count 2>>endobj\n" +
		"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>endobj\n" +
		"4 0 obj<</Length 66>>stream\nBT /F 10 Tf 20 50 Td (Green pe) Tj (as) Tj ( 5) Tj 0 -12 Td (two) Tj ET\nendstream endobj\n" +
		"5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Times-Bold>>endobj\n" +
		"6 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]/Contents 7 0 R/Resources<</XObject<</X 10 0 R>>>>>>endobj\n" +
		"7 0 obj<</Length 7>>stream\n/X Do \nendstream endobj\n")
	for i := range depth {
		inner := "BT /F 9 Tf 20 20 Td (a) Tj ET"
		if i < depth-1 {
			inner = strings.Repeat("/X Do ", times)
		}
		fmt.Fprintf(&b, "%d 0 obj<</Type/XObject/Subtype/Form/BBox[0 0 200 100]/Resources<</Font<</F 5 0 R>>/XObject<</X %d 0 R>>>>/Length %d>>stream\n%s\nendstream endobj\n", 10+i, 11+i, len(inner), inner)
	}
	b.WriteString("trailer<</Root 1 0 R>>\n%%EOF\n")
	return []byte(b.String())
}

// TestEngines: a file reads the same in this process and in another one.
func TestEngines(t *testing.T) {
	data := testFile(1, 1)
	var pages []*Page
	for _, e := range []engine{&pdfium{stoppable: true}, new(child)} {
		f := &File{data: data, engine: e}
		if err := f.start(); err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		head, err := f.Head()
		if err != nil || head.Pages != 2 {
			t.Fatalf("%+v, %v", head, err)
		}
		p, err := f.Page(0)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, p)
		picture, err := f.PNG(0, 72)
		if err != nil {
			t.Fatal(err)
		}
		if image, err := png.Decode(bytes.NewReader(picture)); err != nil || image.Bounds().Dx() != 200 {
			t.Errorf("%v, %v", image.Bounds(), err)
		}
	}
	if !reflect.DeepEqual(pages[0], pages[1]) {
		t.Errorf("%+v\nis not\n%+v", pages[0], pages[1])
	}
	var texts []string
	for _, w := range pages[0].Words {
		texts = append(texts, w.Text)
		if !w.Bold || w.Size < 9 || w.Size > 13 || w.Left < 19 {
			t.Errorf("%+v", w)
		}
	}
	if got := strings.Join(texts, " "); got != "Green peas 5 two" || pages[0].Label != "iv" {
		t.Errorf("%q on page %q", got, pages[0].Label)
	}
}

// TestRefused: what is no PDF, or locked, is told apart.
func TestRefused(t *testing.T) {
	locked := bytes.Replace(testFile(1, 1), []byte("/Root 1 0 R"), []byte("/Root 1 0 R/Encrypt<</Filter/Standard/V 1/R 2/P -4/O(01234567890123456789012345678901)/U(01234567890123456789012345678901)>>/ID[(a)(b)]"), 1)
	for want, data := range map[error][]byte{ErrNoPDF: []byte("no PDF at all"), ErrLocked: locked} {
		f, err := Open(data)
		if !errors.Is(err, want) {
			t.Errorf("%v, expected %v", err, want)
		}
		f.Close()
	}
}

// unpacking is a file whose only page unpacks to n times a unit.
func unpacking(unit string, n int) []byte {
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	for range n / 1000 {
		w.Write([]byte(strings.Repeat(unit, 1000)))
	}
	w.Close()
	return bytes.Replace(testFile(1, 1), []byte("4 0 obj<</Length 66>>stream"), fmt.Appendf(nil, "4 0 obj<</Filter/FlateDecode/Length %d>>stream\n%s\nendstream endobj\n99 0 obj<</Length 66>>stream", z.Len(), z.String()), 1)
}

// TestBombs: a page that takes for ever, or all memory, is given up, and the next one is read. Short tests leave out
// the page that fills the memory.
func TestBombs(t *testing.T) {
	defer func(was time.Duration) { pageTime = was }(pageTime)
	for name, c := range map[string]struct {
		data []byte
		page int
		time time.Duration
		want error
	}{
		"time":   {unpacking("q Q ", 4_000_000), 0, 200 * time.Millisecond, ErrTime},
		"memory": {testFile(12, 8), 1, time.Minute, ErrBroken},
	} {
		if testing.Short() && name == "memory" {
			continue
		}
		for _, e := range []engine{&pdfium{stoppable: true}, new(child)} {
			if name == "memory" && reflect.TypeOf(e) != reflect.TypeOf(new(child)) {
				continue // takes half a minute there
			}
			f := &File{data: c.data, engine: e}
			pageTime = time.Minute
			if err := f.start(); err != nil {
				t.Fatal(err)
			}
			pageTime = c.time
			if _, err := f.Page(c.page); !errors.Is(err, c.want) {
				t.Errorf("%s, %T: %v, expected %v", name, e, err, c.want)
			}
			pageTime = time.Minute
			if p, err := f.Page(1 - c.page); err != nil || len(p.Words) == 0 {
				t.Errorf("%s, %T: the next page: %v, %v", name, e, p, err)
			}
			f.Close()
		}
	}
}

// TestSpoiled: no byte that is changed or missing makes this process fail.
func TestSpoiled(t *testing.T) {
	if testing.Short() {
		t.Skip("200 files: not in short tests")
	}
	spoil.Each(t, testFile(0, 0), spoil.Limit{Bytes: 64 << 20}, func(t *testing.T, spoiled []byte) { read(spoiled) })
}

// read reads all of a file within this process.
func read(data []byte) {
	f := &File{data: data, engine: &pdfium{stoppable: true}}
	defer f.Close()
	if f.start() != nil {
		return
	}
	head, err := f.Head()
	if err != nil {
		return
	}
	for i := range min(head.Pages, 4) {
		f.Page(i)
	}
}

func FuzzPDF(f *testing.F) {
	f.Add(testFile(3, 2))
	f.Add(unpacking("BT /F 9 Tf (a) Tj ET ", 1000))
	pageTime = 2 * time.Second
	f.Fuzz(func(_ *testing.T, data []byte) { read(data) })
}
