//go:build purego || !amd64

package cpu

func machineKernels() []*kernels { return nil }
