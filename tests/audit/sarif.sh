#!/bin/bash
# Validates the auditor's SARIF against the published schema of SARIF 2.1.0 (OASIS), which the package serde-sarif
# carries, with Python's jsonschema. A log that breaks the schema must be refused, so that the schema is known to bite.
# Needs a network for the first run; python3 with jsonschema (Debian: python3-jsonschema) or with venv.
# Usage: tests/audit/sarif.sh [path of marlin]
set -euo pipefail
cd "$(dirname "$0")/../.."
marlin=$(realpath "${1:-target/debug/marlin}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The package's sources, without building it.
mkdir -p "$work/fetch/src"
touch "$work/fetch/src/lib.rs"
printf '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[dependencies]\nserde-sarif = "=0.8.0"\n' \
    > "$work/fetch/Cargo.toml"
(cd "$work/fetch" && cargo fetch -q)
schema=$(echo "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/serde-sarif-0.8.0/src/schema.json | cut -d' ' -f1)

python=
for p in python3 /usr/bin/python3; do
    if "$p" -c 'import jsonschema' 2> /dev/null; then python=$p; fi
done
if [ -z "$python" ]; then
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install -q jsonschema
    python="$work/venv/bin/python"
fi

# Many findings; none; a file is no WGSL and has a name that a URI must escape.
"$marlin" audit tests/fixtures/audit wgsl --format sarif > "$work/fixtures.sarif"
"$marlin" audit tests/fixtures/audit/a05.wgsl --format sarif > "$work/silent.sarif"
printf 'fn' > "$work/no wgsl%.wgsl"
"$marlin" audit "$work/no wgsl%.wgsl" --format sarif > "$work/broken.sarif" || true

"$python" - "$schema" "$work"/*.sarif << 'CHECK'
import copy, json, sys
import jsonschema

schema = json.load(open(sys.argv[1]))
assert "2.1.0" in schema["title"], schema["title"]
validator = jsonschema.validators.validator_for(schema)(schema)
validator.check_schema(schema)
logs = {path: json.load(open(path)) for path in sys.argv[2:]}
for path, log in logs.items():
    errors = [f"{list(e.absolute_path)}: {e.message}" for e in validator.iter_errors(log)]
    results = log["runs"][0]["results"]
    rules = {r["ruleId"] for r in results}
    print(f"{path.split('/')[-1]}: {len(results)} results of {len(rules)} rules, {len(errors)} errors")
    assert not errors, "\n".join(errors[:20])
full = next(log for path, log in logs.items() if path.endswith("fixtures.sarif"))
assert full["runs"][0]["results"], "the fixtures say nothing"
for break_it in (
    lambda r: r.update(level="fatal"),
    lambda r: r["locations"][0]["physicalLocation"]["region"].update(startLine=0),
    lambda r: r.pop("message"),
):
    log = copy.deepcopy(full)
    break_it(log["runs"][0]["results"][0])
    assert not validator.is_valid(log), "the schema lets a broken log pass"
print(f"valid against: {schema['title']}")
CHECK
