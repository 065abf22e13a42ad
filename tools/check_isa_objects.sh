#!/bin/sh
# check_isa_objects.sh NM OBJECT... -- no weak symbol in an object compiled for one instruction set.
#
# The linker keeps one of several weak copies of a function. Were it the AVX-512 copy, the program
# would end with an illegal instruction on a machine without AVX-512. Other objects may have some.
set -eu
nm=$1
shift
checked=0
for object; do
  case $object in *avx*) ;; *) continue ;; esac
  checked=$((checked + 1))
  weak=$("$nm" -C "$object" | grep -E '^[0-9a-f ]* [WVu] ' || true)
  if [ -n "$weak" ]; then
    printf '%s: weak symbols, which need internal linkage:\n%s\n' "$object" "$weak" >&2
    exit 1
  fi
done
echo "$checked objects of one instruction set, no weak symbol"
