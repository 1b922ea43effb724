//go:build !purego

package cpu

// fewQ4VNNIx2 and so on multiply rows of affine weights with two to eight rows of x,
// fewFP4VNNIx2 and so on rows of E2M1 weights.
//
//go:noescape
func fewQ4VNNIx2(t *fewTile)

//go:noescape
func fewQ4VNNIx3(t *fewTile)

//go:noescape
func fewQ4VNNIx4(t *fewTile)

//go:noescape
func fewQ4VNNIx5(t *fewTile)

//go:noescape
func fewQ4VNNIx6(t *fewTile)

//go:noescape
func fewQ4VNNIx7(t *fewTile)

//go:noescape
func fewQ4VNNIx8(t *fewTile)

//go:noescape
func fewFP4VNNIx2(t *fewTile)

//go:noescape
func fewFP4VNNIx3(t *fewTile)

//go:noescape
func fewFP4VNNIx4(t *fewTile)

//go:noescape
func fewFP4VNNIx5(t *fewTile)

//go:noescape
func fewFP4VNNIx6(t *fewTile)

//go:noescape
func fewFP4VNNIx7(t *fewTile)

//go:noescape
func fewFP4VNNIx8(t *fewTile)

var (
	fewQ4VNNI  = [...]func(*fewTile){2: fewQ4VNNIx2, 3: fewQ4VNNIx3, 4: fewQ4VNNIx4, 5: fewQ4VNNIx5, 6: fewQ4VNNIx6, 7: fewQ4VNNIx7, 8: fewQ4VNNIx8}
	fewFP4VNNI = [...]func(*fewTile){2: fewFP4VNNIx2, 3: fewFP4VNNIx3, 4: fewFP4VNNIx4, 5: fewFP4VNNIx5, 6: fewFP4VNNIx6, 7: fewFP4VNNIx7, 8: fewFP4VNNIx8}
)
