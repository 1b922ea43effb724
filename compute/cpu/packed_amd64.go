//go:build !purego

package cpu

import (
	"unsafe"

	"github.com/lentil-lm/lentil/quant"
)

// scalesAhead is how far ahead scales are asked for, in bytes.
const scalesAhead = 1024

// columnsBF16 and so on are scaleColumnsGeneric for rows of n bytes, ld apart. They
// write whole double words of each row, and ask for what lies at next:
//
//	for r := range 16 {
//		for g := range groups {
//			dst[g*16+r] = float32(src[r*ld+g*size]) // halved for E8M0 and E4M3
//		}
//	}
//
//go:noescape
func columnsBF16(dst *float32, src *byte, ld, n int, next uintptr)

//go:noescape
func columnsF16(dst *float32, src *byte, ld, n int, next uintptr)

//go:noescape
func columnsF32(dst *float32, src *byte, ld, n int, next uintptr)

//go:noescape
func columnsE8M0(dst *float32, src *byte, ld, n int, next uintptr)

//go:noescape
func columnsE4M3(dst *float32, src *byte, ld, n int, next uintptr)

func scaleColumnsAVX512(dst []float32, src []byte, f quant.Format) {
	n := len(src) / packedCols
	next := uintptr(unsafe.Pointer(&src[0])) + uintptr(roundUp(scalesAhead, len(src))) // never read
	switch {
	case f.Kind == quant.NVFP4:
		columnsE4M3(&dst[0], &src[0], n, n, next)
	case f.Kind == quant.MXFP4:
		columnsE8M0(&dst[0], &src[0], n, n, next)
	case f.DType == quant.BF16:
		columnsBF16(&dst[0], &src[0], n, n, next)
	case f.DType == quant.F16:
		columnsF16(&dst[0], &src[0], n, n, next)
	default:
		columnsF32(&dst[0], &src[0], n, n, next)
	}
}

// packedQ4VNNIx2 and so on are packedGeneric for two to eight rows of x and
// affine weights, packedMXVNNIx2 and so on for mxfp4, packedNVVNNIx2 and so on
// for nvfp4:
//
//	for run := range runs { // of 32 weights
//		for r := range rows {
//			dot[0:16] := start[run, r] + Σ (x of row r and the run) * (codes of 16 rows)
//			c[r, 0:16] += ws[group of run, 0:16] * scale[run, r] * dot[0:16]
//		}
//	}
//	for g := range groups { // without start
//		c[r, 0:16] += wb[g, 0:16] * sum[g, r]
//	}
//
//go:noescape
func packedQ4VNNIx2(t *packedTile)

//go:noescape
func packedQ4VNNIx3(t *packedTile)

//go:noescape
func packedQ4VNNIx4(t *packedTile)

//go:noescape
func packedQ4VNNIx5(t *packedTile)

//go:noescape
func packedQ4VNNIx6(t *packedTile)

//go:noescape
func packedQ4VNNIx7(t *packedTile)

//go:noescape
func packedQ4VNNIx8(t *packedTile)

//go:noescape
func packedMXVNNIx2(t *packedTile)

//go:noescape
func packedMXVNNIx3(t *packedTile)

//go:noescape
func packedMXVNNIx4(t *packedTile)

//go:noescape
func packedMXVNNIx5(t *packedTile)

//go:noescape
func packedMXVNNIx6(t *packedTile)

//go:noescape
func packedMXVNNIx7(t *packedTile)

//go:noescape
func packedMXVNNIx8(t *packedTile)

//go:noescape
func packedNVVNNIx2(t *packedTile)

//go:noescape
func packedNVVNNIx3(t *packedTile)

//go:noescape
func packedNVVNNIx4(t *packedTile)

//go:noescape
func packedNVVNNIx5(t *packedTile)

//go:noescape
func packedNVVNNIx6(t *packedTile)

//go:noescape
func packedNVVNNIx7(t *packedTile)

//go:noescape
func packedNVVNNIx8(t *packedTile)

var packedQ4VNNI = [...]func(*packedTile){2: packedQ4VNNIx2, 3: packedQ4VNNIx3, 4: packedQ4VNNIx4, 5: packedQ4VNNIx5, 6: packedQ4VNNIx6, 7: packedQ4VNNIx7, 8: packedQ4VNNIx8}

var packedMXVNNI = [...]func(*packedTile){2: packedMXVNNIx2, 3: packedMXVNNIx3, 4: packedMXVNNIx4, 5: packedMXVNNIx5, 6: packedMXVNNIx6, 7: packedMXVNNIx7, 8: packedMXVNNIx8}

var packedNVVNNI = [...]func(*packedTile){2: packedNVVNNIx2, 3: packedNVVNNIx3, 4: packedNVVNNIx4, 5: packedNVVNNIx5, 6: packedNVVNNIx6, 7: packedNVVNNIx7, 8: packedNVVNNIx8}
