//go:build !purego

package cpu

func machineKernels() []*kernels { return nil }
