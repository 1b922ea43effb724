//go:build !purego

package cpu

// widenQ4KAVX2 is widenQ4KGeneric:
//
//	for g := range 8 {
//		for i := range 32 {
//			dst[g*32+i] = sm[g]*nibble(g, i) - sm[8+g]
//		}
//	}
//
//go:noescape
func widenQ4KAVX2(dst *[superBlock]float32, q *[128]byte, sm *[16]float32)

// widenQ6KAVX2 is widenQ6KGeneric:
//
//	for g := range 16 {
//		for i := range 16 {
//			dst[g*16+i] = scales[g] * (six(g, i) - 32)
//		}
//	}
//
//go:noescape
func widenQ6KAVX2(dst *[superBlock]float32, q *[192]byte, scales *[16]float32)

// dotQ4KAVX2 and dotQ6KAVX2 are dotQ4KGeneric and dotQ6KGeneric for rows of
// blocks super-blocks:
//
//	for r := range rows {
//		for g := range blocks*8 { // or 16
//			dot := Σ (numbers of group g) * (x of group g)
//			y[r] += d * scales[g] * scale[g] * float32(dot) - (minimum of g) * sum[g]
//		}
//	}
//
//go:noescape
func dotQ4KAVX2(y *float32, rows int, w *byte, x *int8, scale, sum *float32, blocks int)

//go:noescape
func dotQ6KAVX2(y *float32, rows int, w *byte, x *int8, scale, sum *float32, blocks int)
