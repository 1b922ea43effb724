#!/usr/bin/env bash
# Runs the CPU engine's NEON kernels on another kind of machine, under qemu-user:
# against the plain Go kernels on odd sizes, and the conformance suite. It also
# has the GNU assembler check every instruction that the generator encodes.
# Installs both (Debian packages) when it may, and skips what it cannot have.
set -euo pipefail
cd "$(dirname "$0")/.."
export CGO_ENABLED=0

if [ "$(go env GOHOSTARCH)" = arm64 ]; then
	echo "skipped: this machine is arm64, go test ran its kernels"
	exit 0
fi
if ! command -v qemu-aarch64 aarch64-linux-gnu-as >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
	install() { DEBIAN_FRONTEND=noninteractive apt-get install -y -qq qemu-user binutils-aarch64-linux-gnu >/dev/null 2>&1; }
	install || { apt-get update -qq >/dev/null && install; } || true
fi

go test -count=1 ./compute/cpu/_generate

if ! command -v qemu-aarch64 >/dev/null; then
	echo "skipped: NEON kernels (needs qemu-aarch64, Debian package qemu-user)"
	exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
GOARCH=arm64 go vet ./compute/cpu
GOARCH=arm64 go test -c -o "$work/cpu.test" ./compute/cpu
cd compute/cpu # where the tests expect to run
echo "neon, with dot product instructions"
qemu-aarch64 "$work/cpu.test" -test.run '/neon/3'
qemu-aarch64 "$work/cpu.test" -test.run 'TestDotVariants'
echo "neon, without (Cortex-A53)"
qemu-aarch64 -cpu cortex-a53 "$work/cpu.test" -test.run 'TestDot|TestQuantize|TestLinear/neon/3'
