// The page that runs the library's kernels on the browser's GPU.
const $ = (id) => document.getElementById(id);
/** For each timed variant. */
const BUDGET_MS = 50;

let worker;
let rows = [];
let about;
let busy = false;

function say(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

function make(tag, text, kind) {
  const e = document.createElement(tag);
  e.textContent = text;
  if (kind) e.className = kind;
  return e;
}

function show(device) {
  const megabytes = (n) => `${Math.round(n / 2 ** 20).toLocaleString("en")} MiB`;
  const facts = {
    Adapter: `${device.name || "not named"} (${device.kind})`,
    Features: [device.f16 ? "f16" : "no f16", device.subgroups ? `subgroups${device.subgroup_size ? ` of ${device.subgroup_size}` : ""}` : "no subgroups"].join(", "),
    Limits: `${device.max_workgroup_memory.toLocaleString("en")} B of workgroup memory, ${device.max_invocations} invocations, ${device.max_storage_buffers} storage buffers, bindings of ${megabytes(device.max_binding_bytes)}`,
  };
  $("about").replaceChildren(...Object.entries(facts).flatMap(([name, value]) => [make("dt", name), make("dd", value)]));
}

const time = (ns) => (ns === undefined ? "" : ns < 1e6 ? `${(ns / 1e3).toFixed(1)} µs` : `${(ns / 1e6).toFixed(2)} ms`);

function add(row) {
  if (rows.at(-1)?.case !== row.case) {
    const head = make("th", row.case);
    head.colSpan = 6;
    head.scope = "rowgroup";
    const tr = document.createElement("tr");
    tr.append(head);
    $("rows").append(tr);
  }
  rows.push(row);
  const result = row.skipped ? [row.skipped, "soft"] : row.verified ? ["verified", "good"] : [row.failure, "bad"];
  const error = row.tolerance ? `${((100 * row.max_err) / row.tolerance).toFixed(0)} % of its bound` : "";
  const tr = document.createElement("tr");
  tr.dataset.case = row.case;
  tr.append(make("td", row.variant), make("td", ...result));
  if (row.verified) {
    tr.append(
      make("td", error),
      make("td", time(row.time_ns)),
      make("td", row.gbps === undefined ? "" : `${row.gbps.toFixed(2)} GB/s`),
      make("td", row.speedup_vs_naive === undefined ? "" : `${row.speedup_vs_naive.toFixed(2)}×`),
    );
  } else {
    tr.lastChild.colSpan = 5;
  }
  $("rows").append(tr);
  const count = (keep) => rows.filter(keep).length;
  say(`${count((r) => r.verified)} verified, ${count((r) => r.skipped)} refused, ${count((r) => r.failure)} failed…`);
}

function finish(stray) {
  busy = false;
  $("run").disabled = false;
  $("save").disabled = rows.length === 0;
  const count = (keep) => rows.filter(keep).length;
  const failed = count((r) => r.failure);
  const heard = stray.length ? ` The device also said: ${stray.join("; ")}` : "";
  say(`${count((r) => r.verified)} verified, ${count((r) => r.skipped)} refused, ${failed} failed.${heard}`, failed > 0 || stray.length > 0);
  document.body.dataset.state = "done";
}

function start() {
  worker = new Worker(new URL("gpu-worker.js", import.meta.url), { type: "module" });
  worker.onerror = (event) => stop(`The worker stopped: ${event.message ?? "it could not start"}.`);
  worker.onmessage = ({ data }) => {
    if (data.families) {
      if ($("family").options.length === 0) {
        for (const f of data.families) {
          const option = make("option", `${f.name}: ${f.summary}`);
          option.value = f.name;
          $("family").append(option);
        }
      }
      if (!data.webgpu) return stop("This browser has no WebGPU here: use a current Chrome, Edge, Safari or Firefox, over https or on this machine.");
      open();
    } else if (data.about) {
      about = data.about;
      show(about);
      say("Ready.");
      document.body.dataset.state = "ready";
      if (busy) ask();
    } else if (data.row) add(data.row);
    else if (data.done) finish(data.stray);
    else if (data.lost) {
      about = undefined;
      stop(`The device was lost (${data.lost}): press Run to ask for another.`);
    } else if (data.failed) stop(`${data.failed}`);
  };
}

function stop(message) {
  busy = false;
  $("run").disabled = false;
  say(message, true);
  document.body.dataset.state = "stopped";
}

const open = () => worker.postMessage({ open: { subgroups: $("subgroups").checked } });
const ask = () =>
  worker.postMessage({
    run: { family: $("family").value, edge: $("cases").value === "edge", budget_ms: $("timed").checked ? BUDGET_MS : 0 },
  });

$("what").onsubmit = (event) => {
  event.preventDefault();
  if (busy) return;
  busy = true;
  rows = [];
  $("rows").replaceChildren();
  $("run").disabled = true;
  $("save").disabled = true;
  document.body.dataset.state = "running";
  say("Running…");
  if (about) ask();
  else open();
};
// Another device, with or without them.
$("subgroups").onchange = () => {
  if (!busy) open();
};
$("save").onclick = () => {
  const text = JSON.stringify({ schema: 1, device: about, rows }, null, 2);
  const link = make("a", "");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = "compare.json";
  link.click();
  URL.revokeObjectURL(link.href);
};
start();
