// Package near finds texts that are nearly the same: MinHash over runs of words, in bands so that only texts that
// are likely alike are compared.
package near

import (
	"hash/fnv"
	"iter"
	"strings"
	"unicode"
)

// Numbers of the sketch: 128 hashes tell a similarity to about 0.04 (one standard error at 0.8); 32 bands of 4 make
// candidates of 99.9 % of the pairs that are alike by 0.8, and of 5 % of those by 0.2.
const (
	hashes = 128
	bands  = 32
	run    = 3 // words that are hashed together
)

// Alike is the share of common runs of words from which on two texts count as the same.
const Alike = 0.8

// A Sketch stands for a text.
type Sketch [hashes]uint32

// Words are the words of a text in lower case: letters and digits, without the rest.
func Words(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) })
}

// Of makes the sketch of a text. Texts shorter than a run of words are hashed as they are.
func Of(text string) *Sketch {
	words := Words(text)
	var s Sketch
	for i := range s {
		s[i] = ^uint32(0)
	}
	for i := 0; i == 0 || i+run <= len(words); i++ {
		h := fnv.New64a()
		for _, w := range words[i:min(i+run, len(words))] {
			h.Write([]byte(w))
			h.Write([]byte{0})
		}
		x := h.Sum64()
		for k := range s {
			s[k] = min(s[k], mix(x, uint64(k)))
		}
	}
	return &s
}

// mix is hash number k of x: the finalizer of SplitMix64.
func mix(x, k uint64) uint32 {
	x += (k + 1) * 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return uint32((x ^ x>>31) >> 32)
}

// Like estimates the share of runs of words that two texts have in common (Jaccard).
func (s *Sketch) Like(o *Sketch) float64 {
	same := 0
	for i := range s {
		if s[i] == o[i] {
			same++
		}
	}
	return float64(same) / hashes
}

// An Index finds the text that is most like another among those that were added. It keeps about a kilobyte of each.
type Index struct {
	sketches []*Sketch
	last     map[uint64]int32 // the text that was added last of those with a band in common
	before   [][bands]int32   // the one before it in each band, plus 1; 0 for none
}

// maxBucket bounds the texts of one bucket: of thousands of equal texts a few stand for all.
const maxBucket = 16

// Find gives the number of the text that is most like one, by Alike at least, and the first of several; -1 for none.
func (x *Index) Find(s *Sketch) (at int, like float64) {
	at = -1
	seen := map[int32]bool{}
	for b := range bands {
		for i := range x.bucket(s, b) {
			if seen[i] {
				continue
			}
			seen[i] = true
			if l := x.sketches[i].Like(s); l >= Alike && (l > like || l == like && int(i) < at) {
				at, like = int(i), l
			}
		}
	}
	return at, like
}

// bucket goes through the texts that have a band of s.
func (x *Index) bucket(s *Sketch, b int) iter.Seq[int32] {
	return func(yield func(int32) bool) {
		i, ok := x.last[keyOf(s, b)]
		for ok && yield(i) {
			i = x.before[i][b] - 1
			ok = i >= 0
		}
	}
}

// Add adds a text, whose number is how many were added before.
func (x *Index) Add(s *Sketch) {
	if x.last == nil {
		x.last = map[uint64]int32{}
	}
	n := int32(len(x.sketches))
	x.sketches = append(x.sketches, s)
	var before [bands]int32
	for b := range bands {
		size := 0
		for range x.bucket(s, b) {
			size++
		}
		if size >= maxBucket {
			continue
		}
		k := keyOf(s, b)
		if i, ok := x.last[k]; ok {
			before[b] = i + 1
		}
		x.last[k] = n
	}
	x.before = append(x.before, before)
}

// keyOf is a band of a sketch as one number. Two bands that have the same by chance cost a comparison.
func keyOf(s *Sketch, band int) uint64 {
	const width = hashes / bands
	k := uint64(band)
	for _, h := range s[band*width : (band+1)*width] {
		k = (k ^ uint64(h)) * 0x9e3779b97f4a7c15
		k ^= k >> 32
	}
	return k
}
