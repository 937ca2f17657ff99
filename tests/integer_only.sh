#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Proof that the integer engine is one: disassembles the object of every integer kernel and fails on any instruction
# that computes or converts in floating point. (Moves, logic and shuffles of vector registers compute nothing.)
#   integer_only.sh OBJDUMP COMPILER OBJECT...
# Of the objects, those of backends/reference and backends/cpu are looked at, but for network.cpp, which times the steps
# and scales the logits for people. A file with one multiplication in float, compiled first, must be caught.
set -eu
objdump=$1 compiler=$2
shift 2

scalar_or_vector='(ss|sd|ps|pd|sh|ph)'
arithmetic="^v?(add|sub|mul|div|sqrt|min|max|rcp|rcp14|rsqrt|rsqrt14|round|rndscale|reduce|range|scalef|getexp|getmant|fixupimm|dp|hadd|hsub|addsub|comi|ucomi|cmp[a-z_]*|fpclass)$scalar_or_vector[xyz]?\$"
fused='^vfn?m(add|sub|addsub|subadd)[0-9]*'
convert='^v?cvt'
x87='^f(add|sub|mul|div|ild|ist|ld|st|sqrt|abs|chs|com|ucom|rnd|scale|sin|cos|prem|2xm1|yl2x)'

# Prints the offending instructions of one object; succeeds when there is one.
floating_point() {
    "$objdump" -d --no-show-raw-insn "$1" |
        awk -F'\t' 'NF > 1 { split($2, word, " "); if (word[1] ~ /^(rep|lock|bnd|data16|cs|notrack)/) word[1] = word[2]; print word[1] }' |
        grep -E "$arithmetic|$fused|$convert|$x87"
}

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
echo 'float planted(float x, int y) { return x * 3.0f + static_cast<float>(y); }' >"$dir/planted.cpp"
"$compiler" -O2 -c "$dir/planted.cpp" -o "$dir/planted.o"
if ! floating_point "$dir/planted.o" >/dev/null; then
    echo "the planted floating-point file was not caught: this test proves nothing" >&2
    exit 1
fi

looked=0 kernels=0 failed=0
for object; do
    case $object in
        */network.cpp.o) continue ;;
        */backends/reference/*.o | */backends/cpu/*.o) ;;
        *) continue ;;
    esac
    looked=$((looked + 1))
    case $object in */backends/cpu/kernels_*) kernels=$((kernels + 1)) ;; esac
    if floating_point "$object" >"$dir/found"; then
        echo "$object computes in floating point: $(sort "$dir/found" | uniq -c | tr -s ' \n' ' ')" >&2
        failed=1
    fi
done
if [ "$looked" -lt 20 ] || [ "$kernels" -lt 4 ]; then
    echo "only $looked objects looked at, $kernels of them vector kernels" >&2
    exit 1
fi
[ "$failed" = 0 ] && echo "no floating-point instruction in $looked objects"
