#!/bin/bash
# Audits shader collections that other people published, fetched by crate name, with the defines that their hosts
# pass. Prints per collection: files, kernels analysed, accesses classified, warnings, seconds; what is not analysed
# with its reason. Fails if anything crashes, if fewer than 90 % of a collection's kernels are analysed, or if fewer
# than 85 % of the accesses in these are classified.
#
# Needs clang, jq, and a network for the first run. Usage: tests/audit/collections.sh [path of marlin [directory]];
# with a directory, the reports stay there as NAME.json, and warnings.tsv has twenty of the warnings to be checked by
# hand: of those that differ in collection, file, line or rule, the first twenty by the SHA-256 of that and a seed.
seed=20261122
set -euo pipefail
marlin=$(realpath "${1:-target/debug/marlin}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
keep=${2:-}
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
failed=0

# collection NAME VERSION DIRECTORY: begins one; $path is its directory of shaders.
collection() {
    name=$1
    mkdir -p "$work/$1/src" "$work/$1/made"
    touch "$work/$1/src/lib.rs"
    printf '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[dependencies]\n%s = "=%s"\n' \
        "$1" "$2" > "$work/$1/Cargo.toml"
    (cd "$work/$1" && cargo fetch -q)
    root=$(echo "$registry"/*/"$1-$2" | cut -d' ' -f1)
    path=$root/$3
    parts=0
    : > "$work/$name.done"
    began=$(date +%s.%N)
}

# part FILES... -- OPTIONS...: audits files of the collection as their host specialises them.
part() {
    local files=()
    while [ "$#" -gt 0 ] && [ "$1" != -- ]; do
        case $1 in /*) files+=("$1") ;; *) files+=("$path/$1") ;; esac
        shift
    done
    [ "$#" -gt 0 ] && shift
    local status=0 out=$work/$name.$parts.part
    parts=$((parts + 1))
    "$marlin" audit "${files[@]}" --format json "$@" > "$out" || status=$?
    if [ "$status" -gt 2 ] || ! jq -e .schema "$out" > /dev/null; then
        echo "$name: crashed with status $status on ${files[*]}"
        failed=1
        rm -f "$out"
    fi
    basename -a "${files[@]}" >> "$work/$name.done"
}

# rest DIRECTORY OPTIONS...: audits the files below a directory that no part has named.
rest() {
    local dir=$1 files=()
    shift
    while IFS= read -r f; do
        grep -qx "$(basename "$f")" "$work/$name.done" || files+=("$f")
    done < <(find "$path/$dir" -name '*.wgsl' -o -name '*.metal' | sort)
    part "${files[@]}" -- "$@"
}

total() {
    local seconds all=$work/$name.json
    seconds=$(echo "$(date +%s.%N) - $began" | bc)
    jq -s '{schema: 1, findings: map(.findings[]), sites: map(.sites[]), kernels: map(.kernels[])}' "$work/$name".*.part > "$all"
    jq -r --arg name "$name" --arg s "$seconds" '
        [.kernels[] | select(.analysed)] as $done
        | ([$done[].accesses] | add // 0) as $all | ([$done[].classified] | add // 0) as $known
        | ([.kernels[].file] | unique | length) as $files
        | "\($name): \($files) files, \($done | length) of \(.kernels | length) kernels analysed, \($known) of \($all) accesses classified, \([.findings[] | select(.severity == "warning")] | length) warnings, \($s | tonumber * 10 | round / 10) s"' "$all"
    jq -r '.kernels[] | select(.analysed | not) | "    \(.file | split("/") | last) \(.name): \(.reason | gsub("\n"; " ") | sub("[^ ]*/"; ""))"' "$all" | cut -c1-150
    if ! jq -e '[.kernels[] | select(.analysed)] as $d
        | ($d | length) >= 0.9 * (.kernels | length)
        and ([$d[].classified] | add) >= 0.85 * ([$d[].accesses] | add)' "$all" > /dev/null; then
        echo "$name: below 90 % of kernels or 85 % of accesses"
        failed=1
    fi
    if [ -n "$keep" ]; then cp "$all" "$keep/$name.json"; fi
}

collection vello_shaders 0.11.0 shader
rest .
total

# From `Macros` and the BLOCK_SIZE of each operation in src/tensor/ops.rs; the text of ACTIVATION_DEFINE from there too.
collection web-rwkv 0.10.20 src/shaders
activations=$(sed -n '/ACTIVATION_DEFINE: &str = "/,/^";/p' "$root/src/tensor/ops.rs" | sed '1d;$d')
rwkv=(-D FP16 -D IN_FP16 -D OUT_FP16 -D "ACTIVATION_DEFINE=
$activations
" -D ACT=squared_relu -D ACT_X=tanh -D ACT_Y=tanh -D ACT_OUT=tanh -D HEAD_SIZE=64u -D NF4_BLOCK_SIZE=64u
    -D INT8_BLOCK_SIZE=128u -D SCALE=1.0 -D BIAS=0.0 -D EPS=1.0e-5 -D SUBGROUP_SIZE_32_32 -D MIN_SUBGROUP_SIZE=32u)
part matmul_mat_fp16.wgsl matmul_mat_int8.wgsl matmul_mat_nf4.wgsl blend_lora.wgsl -- "${rwkv[@]}" -D BLOCK_SIZE=8u
part time_mix_v4.wgsl time_mix_v5.wgsl time_mix_v6.wgsl time_mix_v7.wgsl -- "${rwkv[@]}" -D BLOCK_SIZE=32u
rest . "${rwkv[@]}" -D BLOCK_SIZE=128u -D BLOCK_SIZE_X=16u -D BLOCK_SIZE_Y=16u
total

# From the `register` and `add_template` calls in src/kernel. The files *_inner_loop.wgsl and box_muller_transform.wgsl
# are no shaders but values of `prng_loop`.
collection burn-wgpu 0.10.0 src/template
burn=(-D elem=f32 -D int=i32 -D workgroup_size_x=32 -D workgroup_size_y=32 -D workgroup_size_z=1 -D workgroup_size=1024)
made=$work/burn-wgpu/made
# append NAME FILE TEXT: the file with what its host adds at the end.
append() {
    cp "$path/$2" "$made/$1"
    echo "$3" >> "$made/$1"
    basename "$2" >> "$work/$name.done"
}
part binary_elemwise.wgsl -- "${burn[@]}" -D 'body=output[id] = lhs[index_lhs] + rhs[index_rhs];'
part binary_elemwise_inplace.wgsl -- "${burn[@]}" -D 'body=lhs[id] = lhs[id] + rhs[index_rhs];'
part unary_scalar.wgsl -- "${burn[@]}" -D 'body=output[id] = lhs[id] + rhs;'
part unary_scalar_inplace.wgsl -- "${burn[@]}" -D 'body=lhs[id] = lhs[id] + rhs;'
part unary.wgsl -- "${burn[@]}" -D 'body=output[id] = exp(input[id]);'
part unary_inplace.wgsl -- "${burn[@]}" -D 'body=input[id] = exp(input[id]);'
compare='fn compare(lhs: f32, rhs: f32) -> f32 { return f32(lhs < rhs); }'
part comparison/elem.wgsl -- "${burn[@]}" -D 'body=output[id] = u32(lhs[id] < rhs);'
append elem_inplace.wgsl comparison/elem_inplace.wgsl "$compare"
part "$made/elem_inplace.wgsl" -- "${burn[@]}" -D 'body=lhs[id] = compare(lhs[id], rhs);'
part comparison/binary.wgsl -- "${burn[@]}" -D 'body=output[id] = u32(lhs[index_lhs] < rhs[index_rhs]);'
append binary_inplace.wgsl comparison/binary_inplace.wgsl "$compare"
part "$made/binary_inplace.wgsl" -- "${burn[@]}" -D 'body=lhs[index_lhs] = compare(lhs[index_lhs], rhs[index_rhs]);'
part reduction/reduce_dim.wgsl -- "${burn[@]}" -D 'assign=output[id] = sum;'
part reduction/args.wgsl -- "${burn[@]}" -D 'cmp=<' -D initial=32767
part cast.wgsl -- "${burn[@]}" -D input_elem=f32 -D output_elem=i32
part pool/avg_pool2d.wgsl pool/avg_pool2d_backward.wgsl -- "${burn[@]}" -D count_include_pad=true
part matmul/naive.wgsl -- "${burn[@]}" -D block_size_m=16 -D block_size_n=16 -D workgroup_size_x=16 -D workgroup_size_y=16
tiling=(-D elem=f32 -D int=i32 -D workgroup_size_x=16 -D workgroup_size_y=16 -D workgroup_size_z=1 -D b_m=64 -D b_n=64
    -D b_k=32 -D t_m=4 -D t_n=4 -D bk_x_bn=2048 -D bm_x_bk=2048 -D tm_x_tn=16 -D bm_x_bk_4=512)
part matmul/blocktiling_2d -- "${tiling[@]}"
basename -a "$path"/matmul/blocktiling_2d/*.wgsl >> "$work/$name.done"
append prng_bernoulli.wgsl prng/prng.wgsl 'fn cast_elem(e: bool) -> f32 { return f32(e); }'
append prng_normal.wgsl prng/prng.wgsl "$(cat "$path/prng/box_muller_transform.wgsl")"
append prng_uniform.wgsl prng/prng.wgsl ''
for distribution in bernoulli normal uniform; do
    loop=${distribution}_inner_loop.wgsl
    args=$([ "$distribution" = bernoulli ] && echo 1 || echo 2)
    part "$made/prng_$distribution.wgsl" -- "${burn[@]}" -D "num_args=$args" -D "prng_loop=$(cat "$path/prng/$loop")"
    echo "$loop" >> "$work/$name.done"
done
echo box_muller_transform.wgsl >> "$work/$name.done"
rest . "${burn[@]}"
total

# From the get_*_pipeline functions of ggml-webgpu-shader-lib.hpp, for f32 or the commonest quantization.
collection llama-cpp-sys-2 0.1.161 llama.cpp/ggml/src/ggml-webgpu/wgsl-shaders
part binary.wgsl -- -D WG_SIZE=256 -D TYPE_F32 -D OP_ADD
part unary.wgsl -- -D WG_SIZE=256 -D TYPE_F32 -D SILU
part glu.wgsl -- -D WG_SIZE=256 -D TYPE_F32 -D OP_SWIGLU
part conv2d.wgsl conv2d_dw.wgsl -- -D WG_SIZE=256 -D WEIGHT_TYPE=f32 -D INPUT_TYPE=f32 -D OUTPUT_TYPE=f32
part im2col.wgsl -- -D WG_SIZE=256 -D INPUT_TYPE=f32 -D OUTPUT_TYPE=f32
part concat.wgsl repeat.wgsl rope.wgsl set.wgsl -- -D WG_SIZE=256 -D TYPE_F32
part cpy.wgsl -- -D WG_SIZE=256 -D SRC_F32 -D DST_F16
part row_norm.wgsl -- -D WG_SIZE=256 -D RMS_NORM -D SRC_F32 -D DST_F32
part get_rows.wgsl -- -D WG_SIZE=256 -D FLOAT_PARALLEL -D F32_VEC -D 'SRC_TYPE=vec4<f32>' -D 'DST_TYPE=vec4<f32>' -D BLOCK_SIZE=4u
part set_rows.wgsl -- -D WG_SIZE=256 -D DST_F16
part set_rows_quant.wgsl -- -D WG_SIZE=256 -D DST_Q8_0 -D PAIR_BLOCKS
part quantize_q8.wgsl -- -D WG_SIZE=32 -D SRC1_INNER_TYPE=f32 -D MUL_ACC_Q4_0 -D Q8_1_T -D USE_WORKGROUP_REDUCTION
part upscale.wgsl -- -D WG_SIZE=256 -D NEAREST
part soft_max.wgsl -- -D WG_SIZE=256 -D HAS_MASK -D MASK_F32
part argsort.wgsl argsort_merge.wgsl -- -D WG_SIZE=256 -D ORDER=0
part solve_tri.wgsl -- -D WG_SIZE=256 -D N=64 -D K_TILE=16 -D BATCH_N=16
part ssm_conv.wgsl -- -D BLOCK_SIZE=32u -D TOKENS_PER_WG=8u
part ssm_scan.wgsl -- -D WG_SIZE=128u -D TOKENS_PER_TILE=4u
part gated_delta_net.wgsl -- -D S_V=128u -D WG_SIZE=128u
mul_mat=(-D BYTE_HELPERS -D U32_DEQUANT_HELPERS -D SRC0_INNER_TYPE=u32 -D SRC1_INNER_TYPE=f32 -D SCALAR)
part mul_mat_vec.wgsl mul_mat_id_vec.wgsl -- "${mul_mat[@]}" -D MUL_ACC_Q4_0 -D LEGACY_QUANTS_HANDLING -D WG_SIZE=256 \
    -D OUTPUTS_PER_WG=4 -D USE_WORKGROUP_REDUCTION -D NUM_COLS=1 -D N_EXPERTS=32
part mul_mat_id.wgsl -- "${mul_mat[@]}" -D MUL_MAT_ID -D INIT_SRC0_SHMEM_Q4_0 -D INIT_SRC1_SHMEM_FLOAT \
    -D TILE_M=4u -D TILE_N=4u -D TILE_K=32u -D WORKGROUP_SIZE_M=8u -D WORKGROUP_SIZE_N=8u
part mul_mat_reg_tile.wgsl -- "${mul_mat[@]}" -D MUL_ACC_Q4_0 -D INIT_SRC0_SHMEM_Q4_0 -D INIT_SRC1_SHMEM_FLOAT \
    -D TILE_M=4u -D TILE_N=4u -D TILE_K=32u -D WORKGROUP_SIZE_M=8u -D WORKGROUP_SIZE_N=8u
part mul_mat_subgroup_matrix.wgsl -- "${mul_mat[@]}" -D INIT_SRC0_SHMEM_Q4_0 -D INIT_SRC1_SHMEM_FLOAT -D TILE_K=32u
flash=(-D K_F16 -D V_F16 -D Q_F32 -D DST_F32 -D MASK -D HEAD_DIM_QK=128 -D HEAD_DIM_V=128 -D Q_TILE=4 -D KV_TILE=32 -D WG_SIZE=128
    -D MIN_SUBGROUP_SIZE=32u -D MAX_SUBGROUP_SIZE=32u)
part flash_attn.wgsl flash_attn_tile.wgsl -- "${flash[@]}" -D SG_MAT_M=8 -D SG_MAT_N=8 -D SG_MAT_K=8
part flash_attn_vec_split.wgsl -- "${flash[@]}" -D D_SPLIT=8 -D K_DIRECT -D V_DIRECT
part flash_attn_vec_blk.wgsl -- -D WG_SIZE=256 -D KV_TILE=32
part flash_attn_vec_reduce.wgsl -- -D WG_SIZE=256 -D DST_F32 -D HEAD_DIM_V=128
part memset.wgsl -- --set wg_size=256 --set bytes_per_thread=4
rest . -D WG_SIZE=256
total

collection candle-metal-kernels 0.11.1 src/metal_src
rest .
total

if [ -n "$keep" ]; then
    for n in vello_shaders web-rwkv burn-wgpu llama-cpp-sys-2 candle-metal-kernels; do
        jq -r --arg c "$n" '.findings[] | select(.severity == "warning")
            | [$c, (.labels[0].file | split("/") | last), .labels[0].line, .code, .message] | @tsv' "$work/$n.json"
    done | sort -t "$(printf '\t')" -u -k1,4 | while IFS= read -r row; do
        echo "$(echo "$seed $(echo "$row" | cut -f1-4)" | sha256sum | cut -c1-16)	$row"
    done | sort > "$work/drawn.tsv"
    head -20 "$work/drawn.tsv" | cut -f2- > "$keep/warnings.tsv"
fi
exit $failed
