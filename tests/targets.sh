#!/usr/bin/env bash
# Type-checks for systems whose machines are not at hand: library and command, on the web the library alone.
#   tests/targets.sh [TARGET...]      all by default
# A compiler that may build the standard library itself (rustc-web with its sources) does all of them. Each has at most
# 15 minutes. A target that needs a package which can't be had is skipped by name, and counted.
set -euo pipefail
cd "$(dirname "$0")/.."
passed=0
skipped=0

cross() {
    PATH=/usr/bin:/bin RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target/cross}" \
        CARGO_PROFILE_DEV_DEBUG=0 timeout 900 /usr/bin/cargo check --quiet -Zbuild-std=std,panic_abort \
        --config 'profile.dev.package."*".opt-level=0' --target "$@"
}

[ $# -gt 0 ] || set -- aarch64-apple-darwin aarch64-apple-ios aarch64-linux-android x86_64-pc-windows-gnu wasm32-unknown-unknown
for target in "$@"; do
    # The standard library's imports from Windows are made into an archive by this tool.
    if [ "$target" = x86_64-pc-windows-gnu ] && ! command -v x86_64-w64-mingw32-dlltool >/dev/null; then
        if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends binutils-mingw-w64-x86-64; } \
            >/dev/null 2>&1; then
            echo "targets: skipped: $target: no binutils-mingw-w64-x86-64"
            skipped=$((skipped + 1))
            continue
        fi
    fi
    start=$SECONDS
    case "$target" in
    wasm32-*) cross "$target" --lib --no-default-features ;;
    *) cross "$target" --lib --bins ;;
    esac
    echo "targets: $target type-checks ($((SECONDS - start)) s)"
    passed=$((passed + 1))
done
echo "targets: $passed pass, $skipped skipped"
