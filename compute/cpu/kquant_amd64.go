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
