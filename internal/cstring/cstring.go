// Package cstring turns strings into those of C and back, for libraries that are opened at run time.
package cstring

import "unsafe"

// New ends a string as C wants it.
func New(s string) *byte {
	b := append([]byte(s), 0)
	return &b[0]
}

// Text copies a string of C, most bytes of it at the most. That of nil is "".
func Text(p *byte, most int) string {
	if p == nil {
		return ""
	}
	var b []byte
	for i := range most {
		c := *(*byte)(unsafe.Add(unsafe.Pointer(p), i))
		if c == 0 {
			break
		}
		b = append(b, c)
	}
	return string(b)
}
