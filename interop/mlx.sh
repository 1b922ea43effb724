#!/usr/bin/env bash
# Puts what compute/mlx is tested with into .interop/mlx: MLX's CPU build for Linux from PyPI, and lib/libmlxc.so built
# from the source of mlx-c that the Rust crate mlx-sys carries. Needs cargo (to fetch, not to compile), cmake and g++.
# Does nothing when it is there already. JOBS says how many compilers run at once.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
crate=0.7.0 # of mlx-sys: mlx-c 0.7.0, which is made for
mlx=0.32.2  # of MLX, and builds with no other one
mkdir -p "$here/../.interop"
root=$(cd "$here/../.interop" && pwd)
target=$root/mlx
stamp="mlx-sys $crate mlx $mlx"

if [ "$(cat "$target/stamp" 2>/dev/null)" = "$stamp" ]; then
	echo "peers are in place: .interop/mlx"
	exit 0
fi
for tool in cargo cmake g++; do
	command -v $tool >/dev/null || { echo "interop/mlx.sh: needs $tool" >&2; exit 1; }
done
"$here/venv.sh" # whose Python the wheels are for
rm -rf "$target"
mkdir -p "$target"
"$root/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --target "$target/python" "mlx==$mlx" "mlx-cpu==$mlx"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && cargo new --quiet --lib --vcs none fetch && cd fetch && cargo add --quiet "mlx-sys@=$crate" && cargo vendor --quiet "$work/vendor" >/dev/null)
cp -r "$work/vendor/mlx-sys/src/mlx-c" "$work/mlx-c"

# g++ before 13 has no std::format, which one message is made with.
shim=
if ! printf '#include <format>\nint main() { return std::format("{}", 1).size(); }' | g++ -std=c++20 -x c++ -fsyntax-only - 2>/dev/null; then
	printf '#include <string>\nnamespace std { template <class... A> std::string format(const char *f, A &&...) { return f; } }\n' >"$work/format.h"
	shim="-include $work/format.h"
fi
# One unit of all files: reading MLX's headers is what takes the time.
nice cmake -S "$work/mlx-c" -B "$work/build" -DMLX_C_USE_SYSTEM_MLX=ON -DBUILD_SHARED_LIBS=ON -DMLX_C_BUILD_EXAMPLES=OFF \
	-DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$target/python/mlx" -DCMAKE_UNITY_BUILD=ON -DCMAKE_UNITY_BUILD_BATCH_SIZE=8 \
	-DCMAKE_CXX_FLAGS_RELEASE="-O1 -DNDEBUG" -DCMAKE_CXX_FLAGS="$shim" \
	-DCMAKE_SKIP_RPATH=ON -DCMAKE_SHARED_LINKER_FLAGS='-Wl,-rpath,$ORIGIN/../python/mlx/lib' >"$work/log"
nice make -C "$work/build" -j"${JOBS:-1}" mlxc >>"$work/log" 2>&1 || { tail -30 "$work/log" >&2; exit 1; }
mkdir -p "$target/lib"
cp "$work/build/libmlxc.so" "$target/lib/"
echo "$stamp" >"$target/stamp"
echo "made .interop/mlx: mlx-c $crate for MLX $mlx"
