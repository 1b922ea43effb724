package book

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"path"
	"strings"

	"golang.org/x/net/html/charset"

	"github.com/lentil-lm/lentil/fault"
)

// An archive is a zip file whose files are read into memory, one by one and bounded. Names never become paths of this
// machine: a name that leads out of the archive is found nowhere.
type archive struct {
	name     string // of the zip file, for messages
	files    map[string]*zip.File
	unpacked int64 // bytes so far
}

func openArchive(name string, data []byte) (*archive, error) {
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil, fault.Of("%s is no zip file, as EPUB files are, or it is cut off: %w", name, err).Try("Get the file again.")
	}
	if len(r.File) > maxFiles {
		return nil, tooMuch(name, "files", maxFiles)
	}
	a := &archive{name: name, files: make(map[string]*zip.File, len(r.File))}
	for _, f := range r.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		if a.files[f.Name] != nil {
			return nil, fault.Of("%s has two files named %s", name, f.Name).Try("Get the file again, or save it anew with a book program.")
		}
		a.files[f.Name] = f
	}
	return a, nil
}

// in is a file of the archive as messages name it.
func (a *archive) in(file string) string { return a.name + ": " + file }

// read unpacks one file of at most maxMarkup bytes.
func (a *archive) read(file string) ([]byte, error) {
	f := a.files[file]
	if f == nil {
		return nil, fault.Of("%s is missing", a.in(file)).Try("Get the file again, or save it anew with a book program.")
	}
	r, err := f.Open()
	if err != nil {
		return nil, fault.Of("%s: %w", a.in(file), err).Try("Get the file again.")
	}
	defer r.Close()
	most := min(maxMarkup, maxUnpack-a.unpacked)
	data, err := io.ReadAll(io.LimitReader(r, most+1)) // whatever size the archive tells
	a.unpacked += int64(len(data))
	switch {
	case int64(len(data)) > most && most < maxMarkup:
		return nil, tooMuch(a.name, "bytes of unpacked text", maxUnpack)
	case int64(len(data)) > most:
		return nil, tooMuch(a.in(file), "bytes", maxMarkup)
	case err != nil:
		return nil, fault.Of("%s is damaged: %w", a.in(file), err).Try("Get the file again.")
	}
	return data, nil
}

// readXML unpacks one file and reads its XML into v. Entities that a file declares itself are refused, so nothing grows.
func (a *archive) readXML(file string, v any) error {
	data, err := a.read(file)
	if err != nil {
		return err
	}
	if bytes.Count(data, []byte("<")) > maxTags {
		return tooMuch(a.in(file), "tags", maxTags)
	}
	if err := checkDepth(data); err != nil {
		return fault.Of("%s: %w", a.in(file), err).Try("Get the file again, or save it anew with a book program.")
	}
	if err := decoder(data).Decode(v); err != nil {
		return fault.Of("%s: %w", a.in(file), err).Try("Get the file again, or save it anew with a book program.")
	}
	return nil
}

func decoder(data []byte) *xml.Decoder {
	d := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))))
	d.CharsetReader = charset.NewReaderLabel
	d.Entity = xml.HTMLEntity
	return d
}

var errDeep = errors.New("the elements of this XML are nested too deep")

// checkDepth refuses XML whose elements nest deeper than maxDepth, and XML that is none.
func checkDepth(data []byte) error {
	d, depth := decoder(data), 0
	for {
		token, err := d.RawToken()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		switch token.(type) {
		case xml.StartElement:
			depth++
		case xml.EndElement:
			depth--
		}
		if depth > maxDepth {
			return errDeep
		}
	}
}

// beside is the name in the archive of a file that another one refers to, and the place in it. ok is false for what
// lies outside.
func beside(file, ref string) (name, id string, ok bool) {
	ref, id, _ = strings.Cut(ref, "#")
	ref, err := unescape(ref)
	if err != nil || strings.HasPrefix(ref, "/") || strings.Contains(ref, ":") || strings.Contains(ref, `\`) {
		return "", "", false
	}
	if ref == "" {
		return file, id, true
	}
	name = path.Join(path.Dir(file), ref)
	return name, id, name != ".." && !strings.HasPrefix(name, "../")
}
