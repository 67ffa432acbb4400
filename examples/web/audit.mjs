#!/usr/bin/env node
// The auditor from Node: prints what `marlin audit --format json FILE.wgsl` prints.
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { folders } from "./folders.mjs";
import { load } from "./index.mjs";

const USAGE = `usage: audit.mjs FILE.wgsl [--set NAME=VALUE]... [-D NAME[=VALUE]]... [-I DIR]... [--target apple|nvidia|amd|intel]
       [--subgroup-size N] [--banks 32x4|16x4|16x16] [--workgroup-size X,Y,Z] [--budget POINTS]
       [--trace] [--buffer NAME=BYTES]...
Values and num_workgroups=X,Y,Z are given by --set, as to \`marlin audit\`.`;

/** Ends with a sentence: 2 says that the tool could not do its work. */
function fail(message) {
  console.error(`error: ${message}`);
  process.exit(2);
}

function pair(flag, text) {
  const at = text.indexOf("=");
  if (at < 1) fail(`${flag} ${text}: write NAME=VALUE`);
  return [text.slice(0, at), text.slice(at + 1)];
}

function number(flag, text) {
  if (text === "true" || text === "false") return text === "true";
  const plain = text.trim().replace(/^(0x[0-9a-f]+|-?\d+)[ui]$/i, "$1").replace(/^(-?[\d.]+)[fh]$/i, "$1");
  const value = plain === "" ? NaN : Number(plain);
  if (!Number.isFinite(value)) fail(`${flag}: ${text} is neither a number nor true or false`);
  return value;
}

const triple = (flag, text) => text.split(",").map((part) => number(flag, part));

let given;
try {
  given = parseArgs({
    allowPositionals: true,
    options: {
      set: { type: "string", multiple: true, default: [] },
      define: { type: "string", short: "D", multiple: true, default: [] },
      include: { type: "string", short: "I", multiple: true, default: [] },
      buffer: { type: "string", multiple: true, default: [] },
      target: { type: "string" },
      banks: { type: "string" },
      "subgroup-size": { type: "string" },
      "workgroup-size": { type: "string" },
      budget: { type: "string" },
      trace: { type: "boolean" },
      help: { type: "boolean", short: "h" },
    },
  });
} catch (error) {
  fail(`${error.message}\n${USAGE}`);
}
const { values, positionals } = given;
if (values.help) {
  console.log(USAGE);
  process.exit(0);
}
if (positionals.length !== 1) fail(USAGE);

const options = { set: {}, defines: {}, include: values.include };
for (const text of values.set) {
  const [name, value] = pair("--set", text);
  if (name === "num_workgroups") options.num_workgroups = triple("--set", value);
  else options.set[name] = number(`--set ${text}`, value);
}
for (const text of values.define) {
  const [name, value] = text.includes("=") ? pair("-D", text) : [text, "1"];
  options.defines[name] = value;
}
if (values.target) options.target = values.target;
if (values.banks) options.banks = values.banks;
if (values.budget) options.budget = number("--budget", values.budget);
if (values["subgroup-size"]) options.subgroup_size = number("--subgroup-size", values["subgroup-size"]);
if (values["workgroup-size"]) options.workgroup_size = triple("--workgroup-size", values["workgroup-size"]);
if (values.trace) {
  options.buffers = {};
  for (const text of values.buffer) {
    const [name, bytes] = pair("--buffer", text);
    options.buffers[name] = number("--buffer", bytes);
  }
}

const [file] = positionals;
const source = await readFile(file, "utf8").catch((error) => fail(`${file}: ${error.message}`));
const marlin = await load().catch((error) =>
  fail(`the WebAssembly can't be loaded (${error.message}): build it with examples/web/build.sh`),
);
try {
  const text = values.trace ? marlin.traceText(source, options, file, folders) : marlin.auditText(source, options, file, folders);
  process.stdout.write(text);
  const report = JSON.parse(text);
  const analysed = report.kernels.some((k) => k.analysed);
  if (values.set.length > 0 && analysed) {
    const { unused, parameters } = marlin.inspect(source, { ...options, buffers: undefined }, file, folders);
    const there = parameters.length ? `there are ${parameters.join(", ")}` : "there are none";
    if (unused.length) fail(`--set ${unused[0]}: no kernel has such a parameter; ${there}`);
  }
  if (report.kernels.length > 0 && !analysed) fail("no kernel could be analysed");
} catch (error) {
  fail(error.message);
}
