//go:build race

package spoil

// RaceDetector tells that the race detector watches, which takes several times the memory of the program itself.
const RaceDetector = true
