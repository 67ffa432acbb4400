#!/usr/bin/env python3
"""Static counts beside an NVIDIA GPU's own counters, for loads at the same addresses.

Each case is one index expression, written once and read twice: as WGSL by `marlin audit`, as CUDA by nvcc. The GPU counts
the sectors of 32 bytes that the loads of a launch looked up in L1 (`l1tex__t_sectors_pipe_lsu_mem_global_op_ld`, hits and
misses alike); the auditor gives sectors per request, times the requests of the launch. Both must be equal.

    python3 tests/audit/ncu/compare.py --marlin target/release/marlin

Needs nvcc and ncu, and leave to read counters. With --dry the GPU's part is left to a count in Python, sector by sector, so
that the table of cases can be looked at anywhere. Ends with 1 if any case differs.
"""

import argparse
import csv
import io
import json
import pathlib
import subprocess
import sys
import tempfile

GROUPS, LANES, WARP, SECTOR = 4, 64, 32, 32
METRIC = "l1tex__t_sectors_pipe_lsu_mem_global_op_ld.sum"

# Name, bytes per lane, guard, index of the element: `l` is the lane's number in its group of 64, `w` the group's, `k` the
# round of the loop, if it has rounds. The expressions are WGSL, CUDA and (with // for /) Python at once.
CASES = [
    ("contiguous", 4, "true", "w * 64u + l", 1),
    ("shifted_by_one", 4, "true", "w * 64u + l + 1u", 1),
    ("shifted_by_nine", 4, "true", "w * 64u + l + 9u", 1),
    ("every_second", 4, "true", "(w * 64u + l) * 2u", 1),
    ("every_third", 4, "true", "(w * 64u + l) * 3u", 1),
    ("every_eighth", 4, "true", "(w * 64u + l) * 8u", 1),
    ("a_row_each", 4, "true", "(w * 64u + l) * 1024u", 1),
    ("rows_of_33", 4, "true", "(w * 64u + l) * 33u", 1),
    ("walk_of_eight", 4, "true", "(w * 64u + l) * 8u + k", 8),
    ("walk_side_by_side", 4, "true", "k * 256u + w * 64u + l", 8),
    ("broadcast", 4, "true", "w", 1),
    ("four_share", 4, "true", "w * 64u + l / 4u", 1),
    ("rows_of_eight", 4, "true", "(l / 8u) * 256u + w * 8u + l % 8u", 1),
    ("rows_of_sixteen", 4, "true", "(l / 16u) * 500u + w * 16u + l % 16u", 1),
    ("transposed", 4, "true", "(l % 8u) * 64u + w * 8u + l / 8u", 1),
    ("backwards", 4, "true", "w * 64u + 63u - l", 1),
    ("swapped_pairs", 4, "true", "w * 64u + (l ^ 1u)", 1),
    ("odd_lanes", 4, "l % 2u == 1u", "w * 64u + l", 1),
    ("first_twelve_of_a_warp", 4, "l % 32u < 12u", "(w * 64u + l) * 5u", 1),
    ("vectors", 16, "true", "w * 64u + l", 1),
    ("vectors_apart", 16, "true", "(w * 64u + l) * 3u", 1),
    ("vectors_walked", 16, "true", "(w * 64u + l) * 4u + k", 4),
]


def wgsl():
    text = "@group(0) @binding(2) var<storage, read_write> o: array<u32>;\n"
    for n, (name, size, guard, index, rounds) in enumerate(CASES):
        element = "vec4<u32>" if size == 16 else "u32"
        value = f"dot(a{n}[{index}], vec4(1u))" if size == 16 else f"a{n}[{index}]"
        text += f"""@group(1) @binding({n}) var<storage, read> a{n}: array<{element}>;
@compute @workgroup_size({LANES})
fn {name}(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) l: u32) {{
    let w = group.x;
    var s = 0u;
    for (var k = 0u; k < {rounds}u; k++) {{ if {guard} {{ s += {value}; }} }}
    o[w * {LANES}u + l] = s;
}}
"""
    return text


def cuda():
    text = "#include <cstdio>\n#include <cuda_runtime.h>\n"
    for name, size, guard, index, rounds in CASES:
        element = "uint4" if size == 16 else "unsigned"
        total = "v.x + v.y + v.z + v.w" if size == 16 else "v"
        text += f"""extern "C" __global__ void {name}(const {element} *a, unsigned *o) {{
    unsigned w = blockIdx.x, l = threadIdx.x, s = 0;
#pragma unroll 1
    for (unsigned k = 0; k < {rounds}u; k++) {{ if ({guard}) {{ {element} v = a[{index}]; s += {total}; }} }}
    o[w * {LANES}u + l] = s;
}}
"""
    text += "int main() {\n    void *a; unsigned *o;\n"
    text += "    if (cudaMalloc(&a, 1 << 24) || cudaMalloc(&o, 1 << 16) || cudaMemset(a, 0, 1 << 24)) return 1;\n"
    for name, size, *_ in CASES:
        element = "uint4" if size == 16 else "unsigned"
        text += f"    {name}<<<{GROUPS}, {LANES}>>>((const {element} *)a, o);\n"
    text += "    cudaError_t e = cudaDeviceSynchronize();\n    printf(\"%s\\n\", cudaGetErrorString(e));\n    return e != 0;\n}\n"
    return text


def python(expression):
    plain = expression.replace("true", "True").replace("/", "//")
    return eval("lambda w, l, k: " + "".join(c for i, c in enumerate(plain) if not (c == "u" and plain[i - 1].isdigit())))


def requests_and_sectors(case):
    """Requests of a launch, and sectors by the plainest count: a set per warp and round."""
    _, size, guard, index, rounds = case
    taken, at = python(guard), python(index)
    requests = sectors = 0
    for w in range(GROUPS):
        for first in range(0, LANES, WARP):
            for k in range(rounds):
                lanes = [l for l in range(first, first + WARP) if taken(w, l, k)]
                found = {(at(w, l, k) * size + b) // SECTOR for l in lanes for b in range(size)}
                requests += bool(lanes)
                sectors += len(found)
    return requests, sectors


def audited(marlin, folder):
    path = folder / "cases.wgsl"
    path.write_text(wgsl())
    command = [marlin, "audit", path, "--target", "nvidia", "--set", f"num_workgroups={GROUPS}", "--format", "json"]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    found = {}
    for n, (name, *_) in enumerate(CASES):
        site = next(s for s in report["sites"] if s["kernel"] == name and s["buffer"] == f"a{n}")
        if site["confidence"] != "exact":
            sys.exit(f"{name}: the count is not exact: {site['assumptions']}")
        found[name] = site["blocks32"]
    return found


def measured(folder):
    source, program = folder / "cases.cu", folder / "cases"
    source.write_text(cuda())
    subprocess.run(["nvcc", "-O2", "-o", program, source], check=True)
    command = ["ncu", "--csv", "--page", "raw", "--metrics", METRIC, program]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = list(csv.reader(io.StringIO("\n".join(l for l in out.splitlines() if l.startswith('"')))))
    head = rows[0]
    name, value = head.index("Kernel Name"), head.index(METRIC)
    found = {}
    for row in rows[1:]:
        # The row of units has no kernel.
        if row[name]:
            found[row[name].split("(")[0]] = int(float(row[value].replace(",", "")))
    return found


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--marlin", default="target/release/marlin")
    options.add_argument("--dry", action="store_true", help="count in Python instead of on a GPU")
    options = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        static = audited(options.marlin, folder)
        gpu = {} if options.dry else measured(folder)
    equal = 0
    print(f"{'case':24} {'requests':>8} {'marlin':>8} {'python' if options.dry else 'GPU':>8}")
    for case in CASES:
        requests, sectors = requests_and_sectors(case)
        ours = round(static[case[0]] * requests)
        theirs = sectors if options.dry else gpu.get(case[0])
        same = ours == theirs == sectors
        equal += same
        print(f"{case[0]:24} {requests:8} {ours:8} {theirs!s:>8} {'' if same else '  DIFFERENT'}")
    print(f"{equal} of {len(CASES)} equal")
    sys.exit(equal != len(CASES))


if __name__ == "__main__":
    main()
