// Audits every file through the WebAssembly, traces the page's examples, and compares the JSON, byte by byte, with the
// native command's.
//   node equal.mjs MARLIN FILE...
// Prints counts; ends with 1 where a text differs.
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { folders } from "../../examples/web/folders.mjs";
import { load } from "../../examples/web/index.mjs";

const run = promisify(execFile);
const [command, ...files] = process.argv.slice(2);
const marlin = await load();

/** What the native command prints, whatever it thinks of the file. */
async function native(...given) {
  const done = await run(command, ["audit", "--format", "json", ...given], { maxBuffer: 1 << 30 }).catch((e) => e);
  return done.stdout;
}

const differ = [];
const times_ms = [];
let kernels = 0;
let sites = 0;

/** Compares one text and says whether it is the same. */
function judge(label, expected, work) {
  const start = performance.now();
  const got = work();
  times_ms.push(performance.now() - start);
  const report = JSON.parse(got);
  kernels += report.kernels.length;
  sites += report.sites.length;
  if (got !== expected) differ.push(label);
  return report;
}

// What is known of the dispatch changes what is counted exactly.
const ways = [
  { more: [], options: {} },
  {
    more: ["--target", "nvidia", "--set", "num_workgroups=4,2,1"],
    options: { target: "nvidia", num_workgroups: [4, 2, 1] },
  },
];
for (const file of files) {
  const source = await readFile(file, "utf8");
  for (const { more, options } of ways) {
    judge(`${file} ${more.join(" ")}`, await native(file, ...more), () => marlin.auditText(source, options, file, folders));
  }
}
const audits = times_ms.length;
const sorted = times_ms.slice().sort((a, b) => a - b);
const median = sorted[audits >> 1] ?? 0;
console.log(
  `node: ${audits - differ.length} of ${audits} audits of ${files.length} files equal to the native ones ` +
    `(${kernels} kernels, ${sites} accesses); ${median.toFixed(1)} ms in the median, ${sorted.at(-1)?.toFixed(0)} at most`,
);

// The executor's counts of the page's examples.
const page = fileURLToPath(new URL("../../examples/web/page/", import.meta.url));
const BUFFER_BYTES = 4 << 20;
let traced = 0;
let exact = 0;
const before = differ.length;
for (const { id, options } of JSON.parse(await readFile(`${page}examples.json`, "utf8"))) {
  const file = `${page}examples/${id}.wgsl`;
  const source = await readFile(file, "utf8");
  const given = ["--set", `num_workgroups=${options.num_workgroups.join(",")}`];
  for (const [name, value] of Object.entries(options.set ?? {})) given.push("--set", `${name}=${value}`);
  const names = [...source.matchAll(/var<storage[^>]*>\s*(\w+)/g)].map((m) => m[1]);
  for (const name of names) given.push("--buffer", `${name}=${BUFFER_BYTES}`);
  const buffers = Object.fromEntries(names.map((name) => [name, BUFFER_BYTES]));
  const report = judge(`trace of ${id}`, await native("--trace", file, ...given), () =>
    marlin.traceText(source, { ...options, buffers }, file),
  );
  traced++;
  exact += report.sites.filter((s) => s.traced?.agrees).length;
  for (const s of report.sites.filter((s) => s.traced?.agrees === false)) differ.push(`trace of ${id}, line ${s.line}`);
}
console.log(
  `node: ${traced - (differ.length - before)} of ${traced} traces equal to the native ones; ${exact} accesses counted exactly`,
);
if (audits === 0 || sites === 0 || exact === 0 || differ.length > 0) {
  console.error(`differ: ${differ.slice(0, 10).join("\n        ")}`);
  process.exit(1);
}
