package book

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"

	"github.com/lentil-lm/lentil/fault"
)

// An element is one of a file of XML, by its name without a prefix. The text between elements is an element without a name.
type element struct {
	name     string
	text     string
	attrs    []xml.Attr
	children []*element
}

// attr is the value of an attribute, by its name without a prefix.
func (e *element) attr(name string) string {
	if e != nil {
		for _, a := range e.attrs {
			if a.Name.Local == name {
				return a.Value
			}
		}
	}
	return ""
}

// at is the first child along a path of names; nil where there is none.
func (e *element) at(path ...string) *element {
	for _, name := range path {
		var next *element
		if e != nil {
			for _, c := range e.children {
				if c.name == name {
					next = c
					break
				}
			}
		}
		e = next
	}
	return e
}

// readTree unpacks one file and reads its XML as it is. Entities that a file declares itself are refused, so nothing grows.
func (a *archive) readTree(file string) (*element, error) {
	data, err := a.read(file)
	if err != nil {
		return nil, err
	}
	if bytes.Count(data, []byte("<")) > maxTags {
		return nil, tooMuch(a.in(file), "tags", maxTags)
	}
	root := &element{}
	open := []*element{root}
	d := decoder(data)
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return root, nil
		}
		if err == nil && len(open) > maxDepth {
			err = errDeep
		}
		if err != nil {
			return nil, fault.Of("%s: %w", a.in(file), err).Try("Get the file again, or save it anew with the program that made it.")
		}
		top := open[len(open)-1]
		switch t := token.(type) {
		case xml.StartElement:
			e := &element{name: t.Name.Local}
			if len(t.Attr) > 0 {
				e.attrs = t.Copy().Attr
			}
			top.children = append(top.children, e)
			open = append(open, e)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if top.name == "t" || top.name == "delText" { // the rest is white space between elements
				top.text += string(t)
			}
		}
	}
}
