#!/bin/bash
# Audits shader collections that other people published, fetched by crate name: nothing may crash, and what is
# not analysed must say why. Prints analysed kernels and classified accesses per collection.
# Needs a network for the first run and jq. Usage: tests/audit_collections.sh [path of marlin]
set -euo pipefail
marlin=$(realpath "${1:-target/debug/marlin}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src

fetch() {
    mkdir -p "$work/$1/src"
    touch "$work/$1/src/lib.rs"
    printf '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[dependencies]\n%s = "=%s"\n' \
        "$1" "$2" > "$work/$1/Cargo.toml"
    (cd "$work/$1" && cargo fetch -q)
}

# audit NAME VERSION DIRECTORY OPTIONS...: the options are what the crate's host passes to its preprocessor.
audit() {
    local name=$1 version=$2 dir=$3
    shift 3
    fetch "$name" "$version"
    local path
    path=$(echo "$registry"/*/"$name-$version/$dir" | cut -d' ' -f1)
    local status=0
    "$marlin" audit "$path" --format json "$@" > "$work/out.json" || status=$?
    if [ "$status" -gt 2 ] || ! jq -e .schema "$work/out.json" > /dev/null; then
        echo "$name: crashed with status $status"
        return 1
    fi
    jq -r --arg name "$name" '
        [.kernels[] | select(.analysed)] as $done
        | ([$done[].accesses] | add // 0) as $all | ([$done[].classified] | add // 0) as $known
        | "\($name): \($done | length) of \(.kernels | length) analysed, \($known) of \($all) accesses classified, \(.findings | length) findings"' \
        "$work/out.json"
    jq -r '.kernels[] | select(.analysed | not) | "    \(.file | split("/") | last) \(.name): \(.reason)"' "$work/out.json" | cut -c1-160
}

audit vello_shaders 0.11.0 shader
audit web-rwkv 0.10.20 src/shaders \
    -D FP16 -D BLOCK_SIZE=128u -D BLOCK_SIZE_X=16u -D BLOCK_SIZE_Y=16u -D HEAD_SIZE=64u -D NF4_BLOCK_SIZE=64u \
    -D INT8_BLOCK_SIZE=128u -D ACT=tanh -D ACT_X=tanh -D ACT_Y=tanh -D ACT_OUT=tanh -D SCALE=1.0 -D BIAS=0.0 \
    -D EPS=1.0e-5 -D MIN_SUBGROUP_SIZE=32u -D SUBGROUP_SIZE_32_32
audit burn-wgpu 0.10.0 src/template \
    -D elem=f32 -D int=i32 -D workgroup_size_x=16 -D workgroup_size_y=16 -D workgroup_size_z=1 -D workgroup_size=256 \
    -D 'body=output[id] = input[id];' -D output_elem=f32 -D input_elem=f32 -D b_m=64 -D b_n=64 -D b_k=32 -D t_m=4 \
    -D t_n=4 -D bk_x_bn=2048 -D bm_x_bk=2048 -D tm_x_tn=16 -D bm_x_bk_4=512 -D count_include_pad=1u -D num_args=2 \
    -D initial=0.0 -D 'cmp=<'
audit llama-cpp-sys-2 0.1.161 llama.cpp/ggml/src/ggml-webgpu/wgsl-shaders \
    -D WG_SIZE=128 -D SRC0_INNER_TYPE=f32 -D SRC1_INNER_TYPE=f32 -D DST_TYPE=f32 -D TYPE=f32 -D SRC_TYPE=f32 \
    -D DataType=f32 -D VEC_SIZE=1
audit candle-metal-kernels 0.11.1 src/metal_src
