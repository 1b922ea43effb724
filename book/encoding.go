package book

import (
	"bytes"
	"regexp"
	"unicode/utf8"

	"golang.org/x/net/html/charset"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// byteOrder finds the mark that UTF-16 and UTF-8 texts may begin with.
func byteOrder(data []byte) (name string, ok bool) {
	switch {
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return "utf-8", true
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		return "utf-16", true
	}
	return "", false
}

// declared is the encoding that the head of an XML file names.
var declared = regexp.MustCompile(`^\s*<\?xml[^>]*\sencoding\s*=\s*["']([A-Za-z0-9._:-]+)["']`)

// decode turns the bytes of a text into UTF-8. A byte order mark counts most, then that the bytes are UTF-8, then, in
// markup, what the file declares, then windows-1252, which gives every byte a meaning. name is what was taken.
func decode(data []byte, markup bool) (text []byte, name string) {
	if mark, ok := byteOrder(data); ok {
		decoded, _, err := transform.Bytes(unicode.BOMOverride(unicode.UTF8.NewDecoder()), data)
		if err == nil {
			return decoded, mark
		}
	}
	if utf8.Valid(data) {
		return data, "utf-8"
	}
	label := "windows-1252"
	if markup {
		if m := declared.FindSubmatch(data[:min(len(data), 1024)]); m != nil {
			label = string(m[1])
		} else if _, found, sure := charset.DetermineEncoding(data, ""); sure || found != "utf-8" {
			label = found
		}
	}
	encoding, name := charset.Lookup(label)
	if encoding == nil || name == "replacement" || name == "utf-16le" || name == "utf-16be" {
		encoding, name = charset.Lookup("windows-1252")
	}
	decoded, err := encoding.NewDecoder().Bytes(data)
	if err != nil {
		return bytes.ToValidUTF8(data, []byte("\ufffd")), "utf-8"
	}
	return decoded, name
}
