//go:build !purego

package cpu

// e8m0AVX2 and e4m3AVX2 are e8m0Generic and e4m3Generic for n scales, a multiple
// of 8:
//
//	for i := range n {
//		dst[i] = float32(src[i]) * factor
//	}
//
//go:noescape
func e8m0AVX2(dst *float32, src *byte, n int, factor float32)

//go:noescape
func e4m3AVX2(dst *float32, src *byte, n int, factor float32)

// fp4GroupsAVX2 is fp4RowGeneric for n weights, a multiple of 32, in groups of
// 16 or 32:
//
//	for i := range n {
//		dst[i] = halves[i/group] * float32(fp4Codes[nibble(i)]-fp4Zero)
//	}
//
//go:noescape
func fp4GroupsAVX2(dst *float32, src *byte, halves *float32, n, group int)

// fp8GroupsAVX2 is fp8RowGeneric for groups groups of 32:
//
//	for i := range groups*32 {
//		dst[i] = scales[i/32] * e4m3(src[i])
//	}
//
//go:noescape
func fp8GroupsAVX2(dst *float32, src *byte, scales *float32, groups int)

// startsAVX2 is startsGeneric for runs of 64:
//
//	for i := range runs*8 {
//		start[i] = -fp4Zero * (Σ x of values 8i to 8i+7)
//	}
//
//go:noescape
func startsAVX2(start *int32, x *int8, runs int)

// dotFP4AVX2 and dotFP4VNNI are dotFP4Generic with rows of runs times 64 weights;
// group is 16 or 32:
//
//	for r := range rows {
//		for i := range runs*8 {
//			dot := start[i] + Σ (codes of weights 8i to 8i+7) * x
//			y[r] += halves[r, i*8/group] * scale[i] * float32(dot)
//		}
//	}
//
// They may read up to 24 bytes past the last scale.
//
//go:noescape
func dotFP4AVX2(y *float32, rows int, w *byte, halves *float32, x *int8, scale *float32, start *int32, runs, group int)

//go:noescape
func dotFP4VNNI(y *float32, rows int, w *byte, halves *float32, x *int8, scale *float32, start *int32, runs, group int)

// dotFP8AVX2 and dotFP8AVX512 are dotFP8Generic with rows of groups groups of 32:
//
//	for r := range rows {
//		for i := range groups*32 {
//			y[r] += scales[r, i/32] * e4m3(w[r, i]) * x[i]
//		}
//	}
//
//go:noescape
func dotFP8AVX2(y *float32, rows int, w *byte, scales, x *float32, groups int)

//go:noescape
func dotFP8AVX512(y *float32, rows int, w *byte, scales, x *float32, groups int)

// nibblesFP4AVX2 is nibblesFP4Generic; it asks for the bytes ahead of those it reads:
//
//	for r := range 8 {
//		for i := range runs*32 {
//			line := i/8*4 + i%8/4
//			dst[line*stride+r*4+i%4] = fp4Codes[low nibble of src[r*ld+i]]
//			dst[(line+2)*stride+r*4+i%4] = fp4Codes[its high nibble]
//		}
//	}
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
