//go:build purego || !(amd64 || arm64)

package cpu

func machineKernels() []*kernels { return nil }
