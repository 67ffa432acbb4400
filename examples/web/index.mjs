// The auditor as a module for Node and browsers: `const marlin = await load()`.
import init, * as marlin from "./pkg/marlin_web.js";

let loading;

/** Loads the WebAssembly once. `source` (bytes, a URL or a response) says where it is; beside this file by default. */
export function load(source) {
  loading ??= start(source).catch((error) => {
    loading = undefined;
    throw error;
  });
  return loading;
}

async function start(source) {
  if (source === undefined) {
    const beside = new URL("./pkg/marlin_web_bg.wasm", import.meta.url);
    source = beside.protocol === "file:" ? await (await import("node:fs/promises")).readFile(beside) : beside;
  }
  await init({ module_or_path: source });
  const refused = (inspected) => (name, panic) => marlin.refused(name, panic, inspected);
  const audit = (...given) => run(marlin.audit, given, refused(false));
  const trace = (...given) => run(marlin.trace, given);
  const inspect = (...given) => run(marlin.inspect, given, refused(true));
  return {
    version: marlin.version(),
    audit: (...given) => JSON.parse(audit(...given)),
    auditText: audit,
    trace: (...given) => JSON.parse(trace(...given)),
    traceText: trace,
    inspect: (...given) => JSON.parse(inspect(...given)),
    msl: (...given) => run(marlin.msl, given),
  };
}

/** Calls into the module. After a trap or a panic its memory is not to be trusted: a new instance takes its place. */
function run(work, [text, options, name = "kernel.wgsl", folders], refused) {
  try {
    return work(name, text, options === undefined ? "" : JSON.stringify(options), folders);
  } catch (error) {
    const panic = /^panicked at (.*)/.exec(error.message);
    if (!panic && !(error instanceof WebAssembly.RuntimeError) && !(error instanceof RangeError)) throw error;
    marlin.__wbg_reset_state();
    // naga panics at some valid texts: natively that is caught, and a row of the report.
    if (panic && refused && /\bnaga-\d/.test(panic[1])) return refused(name, error.message);
    const what = panic ? error.message.split("\n").slice(0, 2).join(" ") : error.message;
    throw Object.assign(new Error(`The analyser stopped at this text: ${what}`), { trapped: true });
  }
}
