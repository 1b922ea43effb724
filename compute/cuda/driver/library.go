//go:build (windows || (linux && (amd64 || arm64))) && !static

package driver

import "github.com/lentil-lm/lentil/fault"

// missing is the error where there is no library to open.
func missing(err error) error {
	return fault.Of("no NVIDIA driver: %w", err).Try("Install NVIDIA's driver; nothing else of CUDA is needed. In a container, the card has to be passed in.")
}
