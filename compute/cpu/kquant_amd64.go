//go:build !purego

package cpu

// widenQ4KAVX2 is widenQ4KGeneric.
//
//go:noescape
func widenQ4KAVX2(dst *[superBlock]float32, q *[128]byte, sm *[16]float32)

// widenQ6KAVX2 is widenQ6KGeneric.
//
//go:noescape
func widenQ6KAVX2(dst *[superBlock]float32, q *[192]byte, scales *[16]float32)

// dotQ4KAVX2 and dotQ6KAVX2 are dotQ4KGeneric and dotQ6KGeneric for rows of
// blocks super-blocks.
//
//go:noescape
func dotQ4KAVX2(y *float32, rows int, w *byte, x *int8, scale, sum *float32, blocks int)

//go:noescape
func dotQ6KAVX2(y *float32, rows int, w *byte, x *int8, scale, sum *float32, blocks int)
