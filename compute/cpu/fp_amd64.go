//go:build !purego

package cpu

// e8m0AVX2 and e4m3AVX2 are e8m0Generic and e4m3Generic for n scales, a multiple
// of 8.
//
//go:noescape
func e8m0AVX2(dst *float32, src *byte, n int, factor float32)

//go:noescape
func e4m3AVX2(dst *float32, src *byte, n int, factor float32)

// fp4GroupsAVX2 is fp4RowGeneric for n weights, a multiple of 32, in groups of
// 16 or 32.
//
//go:noescape
func fp4GroupsAVX2(dst *float32, src *byte, halves *float32, n, group int)

// fp8GroupsAVX2 is fp8RowGeneric for groups groups of 32.
//
//go:noescape
func fp8GroupsAVX2(dst *float32, src *byte, scales *float32, groups int)

// startsAVX2 is startsGeneric for runs of 64.
//
//go:noescape
func startsAVX2(start *int32, x *int8, runs int)

// dotFP4AVX2 and dotFP4VNNI are dotFP4Generic with rows of runs times 64 weights;
// group is 16 or 32. They may read up to 24 bytes past the last scale.
//
//go:noescape
func dotFP4AVX2(y *float32, rows int, w *byte, halves *float32, x *int8, scale *float32, start *int32, runs, group int)

//go:noescape
func dotFP4VNNI(y *float32, rows int, w *byte, halves *float32, x *int8, scale *float32, start *int32, runs, group int)

// dotFP8AVX2 and dotFP8AVX512 are dotFP8Generic with rows of groups groups of 32.
//
//go:noescape
func dotFP8AVX2(y *float32, rows int, w *byte, scales, x *float32, groups int)

//go:noescape
func dotFP8AVX512(y *float32, rows int, w *byte, scales, x *float32, groups int)

// nibblesFP4AVX2 is nibblesFP4Generic.
//
//go:noescape
func nibblesFP4AVX2(dst *byte, stride int, src *byte, ld, ahead, runs int)

func e8m0Vector(dst []float32, src []byte, factor float32) {
	n := len(dst) &^ 7
	if n > 0 {
		e8m0AVX2(&dst[0], &src[0], n, factor)
	}
	e8m0Generic(dst[n:], src[n:], factor)
}

func e4m3Vector(dst []float32, src []byte, factor float32) {
	n := len(dst) &^ 7
	if n > 0 {
		e4m3AVX2(&dst[0], &src[0], n, factor)
	}
	e4m3Generic(dst[n:], src[n:], factor)
}

func fp4RowAVX2(dst []float32, src []byte, halves []float32) {
	group := len(dst) / len(halves)
	n := len(dst) &^ 31
	if n > 0 {
		fp4GroupsAVX2(&dst[0], &src[0], &halves[0], n, group)
	}
	if n < len(dst) { // a group of 16
		fp4RowGeneric(dst[n:], src[n/2:], halves[n/group:])
	}
}

func fp8RowAVX2(dst []float32, src []byte, scales []float32) {
	fp8GroupsAVX2(&dst[0], &src[0], &scales[0], len(scales))
}
