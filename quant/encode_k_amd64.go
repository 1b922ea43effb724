//go:build !purego

package quant

// The searches of encode_k.go with a group in each lane of a vector: a lane takes
// the steps of the plain form in its order, each rounded to float32 as there.

var fastSearches = func() *searches {
	if !hasAVX2() {
		return plainSearches
	}
	return avx2Searches
}()

var avx2Searches = &searches{
	name: "avx2",
	grids: func(found *grids, x *[256]float32, s *gridSearch) {
		gridsAVX2(found, x, &s.spans[0], len(s.spans))
	},
	signed: func(found *signedScales, x *[256]float32) {
		for j := 0; j < 16; j += 8 {
			signedAVX2(&found.scale[j], &found.inverse[j], &x[16*j], &inversesQ6K[0], len(inversesQ6K))
		}
	},
	integers: integersAVX2,
}

// hasAVX2 tells whether processor and system allow AVX2. The standard library
// does not say.
func hasAVX2() bool

// gridsAVX2 is gridsPlain for n spans.
//
//go:noescape
func gridsAVX2(found *grids, x *[256]float32, spans *float32, n int)

// signedAVX2 is fitSigned for eight groups, which lie one after the other at x,
// and n integers to try.
//
//go:noescape
func signedAVX2(scale, inverse, x, lowest *float32, n int)

// integersAVX2 is integersPlain.
//
//go:noescape
func integersAVX2(q *[256]uint8, x *[256]float32, scale, offset *[16]float32, low, high float32)
