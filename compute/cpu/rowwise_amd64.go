//go:build !purego

package cpu

// rowwiseQ4VNNIx2 and so on are rowwiseGeneric for two to eight rows of x and affine
// weights, rowwiseFP4VNNIx2 and so on for E2M1 weights:
//
//	for j := range w.rows {
//		for r := range rows {
//			sum[0:16] := kept, or 0, with biases[j, g] * x.sum[g, r] added for all groups
//			for pair := range (runs+1) / 2 {
//				dot[0:16] := start[pair, r] + Σ (x of row r and the pair) * (codes of row j)
//				sum[0:16] += scales[j, group of the lane] * scale[unit of the lane, r] * dot[0:16]
//			}
//			y[r, j] = Σ sum[0:16] // or kept = sum
//		}
//	}
//
//go:noescape
func rowwiseQ4VNNIx2(t *rowwiseTile)

//go:noescape
func rowwiseQ4VNNIx3(t *rowwiseTile)

//go:noescape
func rowwiseQ4VNNIx4(t *rowwiseTile)

//go:noescape
func rowwiseQ4VNNIx5(t *rowwiseTile)

//go:noescape
func rowwiseQ4VNNIx6(t *rowwiseTile)

//go:noescape
func rowwiseQ4VNNIx7(t *rowwiseTile)

//go:noescape
func rowwiseQ4VNNIx8(t *rowwiseTile)

//go:noescape
func rowwiseFP4VNNIx2(t *rowwiseTile)

//go:noescape
func rowwiseFP4VNNIx3(t *rowwiseTile)

//go:noescape
func rowwiseFP4VNNIx4(t *rowwiseTile)

//go:noescape
func rowwiseFP4VNNIx5(t *rowwiseTile)

//go:noescape
func rowwiseFP4VNNIx6(t *rowwiseTile)

//go:noescape
func rowwiseFP4VNNIx7(t *rowwiseTile)

//go:noescape
func rowwiseFP4VNNIx8(t *rowwiseTile)

var (
	rowwiseQ4VNNI  = [...]func(*rowwiseTile){2: rowwiseQ4VNNIx2, 3: rowwiseQ4VNNIx3, 4: rowwiseQ4VNNIx4, 5: rowwiseQ4VNNIx5, 6: rowwiseQ4VNNIx6, 7: rowwiseQ4VNNIx7, 8: rowwiseQ4VNNIx8}
	rowwiseFP4VNNI = [...]func(*rowwiseTile){2: rowwiseFP4VNNIx2, 3: rowwiseFP4VNNIx3, 4: rowwiseFP4VNNIx4, 5: rowwiseFP4VNNIx5, 6: rowwiseFP4VNNIx6, 7: rowwiseFP4VNNIx7, 8: rowwiseFP4VNNIx8}
)
