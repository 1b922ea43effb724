//go:build !purego

package cpu

// dotWideAVX512 and dotWideAVX2 are dotWideGeneric, for two rows of weights ldw bytes apart,
// whose sums lie dy bytes apart, and for one. ldy and ldx are bytes from row to row; a row
// has runs times 32 values:
//
//	for r := range rows {
//		for j := range 2 {
//			y[r*ldy+j*dy] = Σ w[j*ldw+i] * x[r*ldx+i]
//		}
//	}
//
//go:noescape
func dotWideAVX512(y *float32, ldy, dy int, w *float32, ldw int, x *float32, ldx, rows, runs int)

//go:noescape
func dotWideAVX2(y *float32, ldy int, w, x *float32, ldx, rows, runs int)

func wideAVX512(y []float32, ldy int, w, x []float32, n, rows int) {
	for j := 0; j < len(w)/n; j += 2 {
		dy, ldw := 4, 4*n
		if (j+2)*n > len(w) { // the last of an odd number goes with itself
			dy, ldw = 0, 0
		}
		dotWideAVX512(&y[j], 4*ldy, dy, &w[j*n], ldw, &x[0], 4*n, rows, n/32)
	}
}

func wideAVX2(y []float32, ldy int, w, x []float32, n, rows int) {
	for j := range len(w) / n {
		dotWideAVX2(&y[j], 4*ldy, &w[j*n], &x[0], 4*n, rows, n/32)
	}
}
