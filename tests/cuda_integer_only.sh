#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Proof that the integer kernels of the GPU are integer: searches their PTX for any floating-point type and any integer
# division (which a GPU does in floating point), and their machine code, where cuobjdump is, for floating-point
# instructions. A kernel with one multiplication in float, compiled first, must be caught both ways.
#   cuda_integer_only.sh NVCC SOURCE_DIR OBJECT...
# Sources are those of engine/backends/cuda; OBJECT what they were compiled to. Exit 77: there is no nvcc.
set -euo pipefail
nvcc=$1 source=$2
shift 2
[ -x "$nvcc" ] || { echo "skipped: there is no nvcc here"; exit 77; }
PATH=$PATH:$(dirname "$nvcc")

# Prints the offending lines of PTX (or machine code) on standard input; succeeds when there is one.
float_ptx() {
    grep -v '^[[:space:]]*//' | grep -E '\.(f16|f16x2|bf16|bf16x2|tf32|f32|f32x2|f64|e4m3|e5m2|e4m3x2|e5m2x2)\b|^[[:space:]]*(@!?%p[0-9]+ )?(div|rem)\.'
}
# HFMA2 of two zeros is how some architectures load a constant: it computes nothing.
float_sass() {
    grep -E '^[[:space:]]+/\*[0-9a-f]{4,}\*/' | sed -E 's/^[[:space:]]+\/\*[0-9a-f]+\*\/[[:space:]]+//; s/^@!?U?P[0-9T]+ //' |
        grep -vE '^HFMA2[.A-Z0-9_]* R[0-9]+, -?RZ, RZ, ' |
        grep -E '^(FADD|FMUL|FFMA|FSETP|FSET|FSEL|FMNMX|FCHK|FRND|FSWZADD|MUFU|F2I|I2F|F2F|F2IP|F2FP|I2FP|DADD|DMUL|DFMA|DSETP|DMNMX|HADD2|HMUL2|HFMA2|HSET2|HSETP2|HMNMX2|HMMA|DMMA|HGMMA|QGMMA)[0-9]*([. ]|$)'
}

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
echo '__global__ void planted(float* x, int y) { x[0] = x[1] * 3.0f + y; }' >"$dir/planted.cu"
echo '__global__ void planted(int* x, int y) { x[0] = x[1] / y; }' >"$dir/divided.cu"
for planted in planted divided; do
    "$nvcc" -arch=compute_75 -ptx "$dir/$planted.cu" -o "$dir/$planted.ptx"
    float_ptx <"$dir/$planted.ptx" >/dev/null || { echo "$planted.cu was not caught: this test proves nothing" >&2; exit 1; }
done

failed=0 looked=0
for file in "$source"/engine/backends/cuda/*.cu; do
    for arch in 75 90a; do
        "$nvcc" -std=c++20 -O3 -I"$source" -gencode "arch=compute_$arch,code=compute_$arch" -ptx "$file" -o "$dir/out.ptx"
        looked=$((looked + 1))
        if float_ptx <"$dir/out.ptx" >"$dir/found"; then
            echo "$(basename "$file") for compute_$arch computes in floating point, or divides:" >&2
            sort "$dir/found" | uniq -c | sort -rn | head -5 >&2
            failed=1
        fi
    done
done
[ "$looked" -ge 10 ] || { echo "only $looked sources looked at" >&2; exit 1; }

if command -v cuobjdump >/dev/null; then
    "$nvcc" -arch=sm_75 -cubin "$dir/planted.cu" -o "$dir/planted.cubin"
    cuobjdump -sass "$dir/planted.cubin" 2>/dev/null | float_sass >/dev/null ||
        { echo "planted.cu was not caught in machine code: this test proves nothing" >&2; exit 1; }
    for object; do
        cuobjdump -sass "$object" >"$dir/sass" 2>/dev/null
        if ! grep -qE '(EXIT|BRA)' "$dir/sass"; then echo "no machine code in $object" >&2; exit 1; fi
        if float_sass <"$dir/sass" >"$dir/found"; then
            echo "$(basename "$object") computes in floating point:" >&2
            sort "$dir/found" | uniq -c | sort -rn | head -5 >&2
            failed=1
        fi
    done
    machine_code="and machine code of $# objects"
else
    machine_code="(machine code not searched: there is no cuobjdump)"
fi
[ "$failed" = 0 ] && echo "no floating point in the PTX of $looked compilations $machine_code"
