//go:build !purego

package cpu

// rowwiseQ4VNNIx2 and so on multiply rows of affine weights with two to eight rows of x,
// rowwiseFP4VNNIx2 and so on rows of E2M1 weights.
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
