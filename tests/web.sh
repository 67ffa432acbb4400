#!/usr/bin/env bash
# The web, end to end: builds the WebAssembly and the pages, compares Node's audits with the native command's, drives
# the playground in a headless Chromium, and runs the kernels there on WebGPU's software adapter. MARLIN_WEB=require fails where a package can't be had; else what needs it is
# skipped by name, and counted. CHROMIUM and MARLIN name other programs than the system's and target/debug/marlin.
set -euo pipefail
cd "$(dirname "$0")/.."
out="$PWD/target/web"
skipped=0

skip() {
    [ "${MARLIN_WEB:-}" != require ] || { echo "web: $1" >&2; exit 1; }
    echo "web: skipped: $1"
    skipped=$((skipped + 1))
}
have() { dpkg -s "$1" >/dev/null 2>&1; }
# Installs what is missing; a machine that can't says so by its exit status.
want() {
    local missing=()
    for p in "$@"; do have "$p" || missing+=("$p"); done
    [ ${#missing[@]} -eq 0 ] && return
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } \
        >/dev/null 2>&1
}

# rustc-web with sources builds a standard library for wasm32; lld-19 links it.
if ! want rustc-web cargo-web rust-web-src lld-19; then
    skip "building, Node and the browser: no compiler for wasm32 (rustc-web cargo-web rust-web-src lld-19)"
    exit 0
fi
if ! { command -v node && command -v npm || want nodejs npm; } >/dev/null; then
    skip "building, Node and the browser: no Node with npm"
    exit 0
fi
if ! (cd examples/web && { [ -d node_modules ] || npm ci --silent; }); then
    skip "building, Node and the browser: npm can't fetch what examples/web/package-lock.json names"
    exit 0
fi

marlin="${MARLIN:-target/debug/marlin}"
[ -n "${MARLIN:-}" ] || cargo build --quiet --bin marlin
MARLIN_WEB_CORPUS="$out/corpus" cargo test --quiet --test main web:: -- --ignored --nocapture | grep "composed shaders"
# The page's examples that are this crate's kernels are what it composes today.
for pair in gemv_naive=gemv_naive gemv_portable=gemv_optimized; do
    kernel="$out/corpus/${pair%=*}_int4-g64-192x1024-b1-f32_0.wgsl"
    example="examples/web/page/examples/${pair#*=}.wgsl"
    cmp -s "$kernel" "$example" || {
        echo "web: $example is not what the crate composes now: cp '$kernel' $example" >&2
        exit 1
    }
done

start=$SECONDS
examples/web/build.sh
echo "web: built in $((SECONDS - start)) s"
node tests/web/equal.mjs "$marlin" "$out"/corpus/*.wgsl tests/fixtures/audit/*.wgsl \
    tests/fixtures/audit/published/*.wgsl tests/fixtures/lower/*.wgsl

# The command in Node: the same text, and the same end for what can't be done.
file=tests/fixtures/audit/k1.wgsl
cmp <(node examples/web/audit.mjs "$file") <("$marlin" audit --format json "$file")
refused=0
for given in "no_such_file.wgsl" "$file --set nothing=1" "$file --target amiga" "$file --set num_workgroups=0" \
    "$file --trace" "tests/fixtures/lower/constant_f16_from_u32_too_large.wgsl"; do
    # shellcheck disable=SC2086  # each is a list of arguments
    if node examples/web/audit.mjs $given >/dev/null 2>"$out/said" || [ $? -ne 2 ] || ! grep -q '^error: ' "$out/said"; then
        echo "web: audit.mjs $given: not refused with a sentence" >&2
        exit 1
    fi
    refused=$((refused + 1))
done
echo "node: audit.mjs prints the native text, and refuses $refused slips with a sentence"

chromium="${CHROMIUM:-$(command -v chromium || true)}"
if [ -z "$chromium" ] && want chromium; then chromium="$(command -v chromium)"; fi
if [ -n "$chromium" ]; then
    node tests/web/browser.mjs "$chromium" "$out/shots"
    node tests/web/gpu.mjs "$chromium" "$out/shots"
else
    skip "the playground and the kernels in a browser: no chromium"
fi
echo "web: $skipped parts skipped"
