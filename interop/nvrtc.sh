#!/usr/bin/env bash
# Installs NVIDIA's run-time compiler, which needs no card, into .interop/nvrtc, and compiles the kernels of compute/cuda
# again: what is committed must come out, to the byte.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]; then
	echo "skipped: the kernels' compiler is installed on Linux for x86-64 only"
	exit 0
fi
dir=$PWD/.interop/nvrtc
if [ ! -e "$dir/nvidia/cuda_nvrtc/lib/libnvrtc.so.12" ]; then
	python3 -m pip install -q --no-deps --target "$dir" nvidia-cuda-nvrtc-cu12==12.9.86 nvidia-cuda-runtime-cu12==12.9.79
fi
LENTIL_NVRTC=$dir/nvidia go test -count=1 -timeout 30m -run TestGenerated ./compute/cuda/kernels
