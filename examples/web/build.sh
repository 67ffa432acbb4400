#!/usr/bin/env bash
# Builds what Node and browsers load: pkg/ (the module) and site/ (the pages, as static files).
# A compiler for wasm32: Debian's rustc-web with its sources, which builds the standard library itself, and wasm-ld-19;
# Node and npm for wasm-opt, the bundler and the editor, whose versions package-lock.json fixes.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
cd "$here"

for tool in /usr/bin/cargo /usr/bin/rustc wasm-ld-19 node npm; do
    command -v "$tool" >/dev/null || {
        echo "no $tool: apt-get install rustc-web cargo-web rust-web-src lld-19, and Node 18 or later with npm" >&2
        exit 1
    }
done
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$here/../../target/web}"
build() {
    PATH=/usr/bin:/bin RUSTC=/usr/bin/rustc /usr/bin/cargo build --quiet "$@"
}
build -p marlin-web-bind --config 'profile.dev.debug=0' --config 'profile.dev.opt-level=1'
# A stack of 32 MiB: naga and the auditor call themselves along long sums. No folder of this machine in messages.
flags="-Clink-arg=-zstack-size=33554432"
for crates in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do flags+=" --remap-path-prefix=$crates="; done
RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld-19 \
    CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="$flags" \
    build --release -Zbuild-std=std,panic_abort --target wasm32-unknown-unknown -p marlin-web -p marlin-web-gpu

[ -d node_modules ] || npm ci --silent
rm -rf pkg site
# Features that every browser with WebGPU has; binaryen knows more.
features=(--enable-bulk-memory --enable-bulk-memory-opt --enable-call-indirect-overlong --enable-multivalue
    --enable-mutable-globals --enable-nontrapping-float-to-int --enable-reference-types --enable-sign-ext)
for name in marlin_web marlin_web_gpu; do
    "$CARGO_TARGET_DIR/debug/marlin-web-bind" "$CARGO_TARGET_DIR/wasm32-unknown-unknown/release/$name.wasm" pkg
    node_modules/.bin/wasm-opt -Oz "${features[@]}" "pkg/${name}_bg.wasm" -o pkg/small.wasm
    mv pkg/small.wasm "pkg/${name}_bg.wasm"
done
node bundle.mjs
node sizes.mjs
