#!/bin/sh
# Fails if a kernel in the object files or libraries named has a stack frame or local memory: what its registers do not
# hold, because it was spilled or is indexed at run time, lies there. Usage: tools/check_spills.sh build/kernels/libquantd_cuda.a
set -eu
cd "$(dirname "$0")/.."
cuobjdump=${CUOBJDUMP:-.deps/cuda/bin/cuobjdump}
[ $# -gt 0 ] || { echo "usage: tools/check_spills.sh FILE..." >&2; exit 2; }

usage=$(for file in "$@"; do "$cuobjdump" --dump-resource-usage "$file" 2>/dev/null; done)
kernels=$(printf '%s\n' "$usage" | grep -c 'REG:' || true)
[ "$kernels" -gt 0 ] || { echo "check_spills: no kernel in $*" >&2; exit 1; }

bad=$(printf '%s\n' "$usage" | awk '/^ *Function /{name = $2} /REG:/ && !/STACK:0 .*LOCAL:0/{print name $0}' | c++filt)
[ -z "$bad" ] || { printf 'check_spills: kernels with memory of their own:\n%s\n' "$bad" >&2; exit 1; }
echo "check_spills: $kernels kernels, none with a stack or local memory"
