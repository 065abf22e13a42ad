#!/usr/bin/env bash
# with_compiler.sh COMPILER -- the C++ tests of the lower half with another compiler, in build/COMPILER.
# A compiler for another processor has a file of its name in cmake/, which says how to run its programs.
set -euo pipefail
cd "$(dirname "$0")/../.."
compiler=$1
toolchain=cmake/$compiler.cmake
choice=(-DCMAKE_CXX_COMPILER="$compiler")
emulator=true
if [ -f "$toolchain" ]; then
  choice=(--toolchain "$toolchain")
  emulator=$(sed -nE 's/^set\(CMAKE_CROSSCOMPILING_EMULATOR ([^ )]+).*/\1/p' "$toolchain")
fi
for program in "$compiler" "$emulator"; do
  if ! command -v "$program" > /dev/null; then
    echo "make test-compilers: NOT RUN with $compiler: this machine lacks $program"
    exit 0
  fi
done
# Half the time of -O3. g++ fuses products and sums among the expensive optimizations, clang always.
quick="-O1 -fexpensive-optimizations -Wno-ignored-optimization-argument -DNDEBUG"
log=build/$compiler/tests.log
mkdir -p "$(dirname "$log")"
if ! {
  cmake -S . -B "build/$compiler" -G Ninja --log-level=ERROR "${choice[@]}" \
    -DCMAKE_CXX_FLAGS_RELEASE="$quick" -DTORCH_INFOTHEORY_WITH_TORCH=OFF &&
    cmake --build "build/$compiler" --parallel 1 &&
    ctest --test-dir "build/$compiler" --no-tests=error --output-on-failure
} > "$log" 2>&1; then
  cat "$log"
  echo "make test-compilers: FAILED with $compiler"
  exit 1
fi
echo "make test-compilers: passed with $compiler"
