// The playground: an editor whose lines say what their accesses fetch and use.
import { Decoration, EditorView, WidgetType, keymap } from "@codemirror/view";
import { EditorState, StateEffect, StateField } from "@codemirror/state";
import { HighlightStyle, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { indentWithTab } from "@codemirror/commands";
import { tags } from "@lezer/highlight";
import { basicSetup } from "codemirror";
import { Auditor } from "./auditor.mjs";
import { bankMap, blockMap } from "./lanes.mjs";
import { fromFragment, toFragment } from "./permalink.mjs";
import { wgsl } from "./wgsl.mjs";

const $ = (id) => document.getElementById(id);
/** What the page offers, each with what is known of its dispatch: bundle.mjs puts the texts in. */
const examples = EXAMPLES;
/** The file's name in reports. */
const NAME = "kernel.wgsl";
/** After the last key. */
const PAUSE_MS = 150;
const DEFAULT_BUFFER_BYTES = 4 << 20;

/** An element with text or children. */
function make(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "onclick") e.onclick = value;
    else if (value !== undefined && value !== false) e.setAttribute(key, value);
  }
  e.append(...children.filter((c) => c !== null && c !== undefined));
  return e;
}

const number = (x) => (Number.isInteger(x) ? x.toLocaleString("en") : x.toLocaleString("en", { maximumFractionDigits: 1 }));
const bytes = (x) => (x === null || x === undefined ? "–" : `${number(x)} B`);

/** What a verdict is worth, as a colour: by bytes used of those fetched, or by banks. */
function worth(site) {
  if (site.space === "workgroup") return site.pattern === "bank-conflict" ? "bad" : "good";
  if (site.pattern === "scattered") return "bad";
  if (!site.fetched_bytes) return "soft";
  const use = site.useful_bytes / site.fetched_bytes;
  // One address for all lanes fetches a block for a few bytes, and no layout would help.
  if (site.pattern === "broadcast" || site.pattern === "single-lane") return "good";
  return use >= 0.75 ? "good" : use >= 0.35 ? "fair" : "bad";
}

const WORST_FIRST = ["bad", "fair", "good", "soft"];

/** "4 / 128 B strided", or what banks do. */
function brief(site) {
  if (site.bank_ways !== undefined) return `${site.pattern} ${site.bank_ways}×`;
  if (site.fetched_bytes === null) return site.pattern;
  return `${number(site.useful_bytes)} / ${number(site.fetched_bytes)} B ${site.pattern}`;
}

// ---- The editor ----

/** What is shown in the text: set by each answer, moved by edits until the next. */
const setMarks = StateEffect.define();
const marks = StateField.define({
  create: () => Decoration.none,
  update(value, transaction) {
    for (const effect of transaction.effects) if (effect.is(setMarks)) return effect.value;
    return value.map(transaction.changes);
  },
  provide: (field) => EditorView.decorations.from(field),
});

class Note extends WidgetType {
  constructor(parts, indent) {
    super();
    this.parts = parts;
    this.indent = indent;
  }
  eq(other) {
    return JSON.stringify(this.parts) === JSON.stringify(other.parts);
  }
  toDOM() {
    const inner = this.parts.flatMap(([text, kind], i) => [i > 0 ? " · " : "", make("span", { class: kind }, text)]);
    return make("div", { class: "note", style: `padding-left: calc(${this.indent}ch + 7px)` }, ...inner);
  }
  get estimatedHeight() {
    return 18;
  }
  ignoreEvent() {
    return false;
  }
}

const colours = HighlightStyle.define([
  { tag: tags.keyword, color: "light-dark(#8a2f8f, #d99be0)" },
  { tag: tags.typeName, color: "light-dark(#0b62b8, #78b7ff)" },
  { tag: tags.modifier, color: "light-dark(#8a5a00, #e6b450)" },
  { tag: [tags.number, tags.bool], color: "light-dark(#1a7037, #8fd6a5)" },
  { tag: tags.comment, color: "light-dark(#6a7077, #939ba5)", fontStyle: "italic" },
  { tag: [tags.attributeName, tags.meta], color: "light-dark(#a33b12, #f0a07a)" },
]);

const editor = new EditorView({
  parent: $("editor"),
  state: EditorState.create({
    extensions: [
      basicSetup,
      keymap.of([indentWithTab]),
      indentUnit.of("    "),
      wgsl,
      syntaxHighlighting(colours),
      marks,
      EditorView.contentAttributes.of({ "aria-label": "WGSL" }),
      EditorView.updateListener.of((update) => {
        if (update.docChanged) later();
        if (update.docChanged || update.selectionSet) showAccess();
      }),
    ],
  }),
});

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A place of the report (line from 1, column in bytes from 1, length in bytes) as positions in the text. */
function range(line, column, length) {
  if (line < 1 || line > editor.state.doc.lines) return null;
  const there = editor.state.doc.line(line);
  const raw = encoder.encode(there.text);
  const chars = (n) => decoder.decode(raw.subarray(0, Math.max(0, n))).length;
  const from = there.from + chars(column - 1);
  return { from, to: Math.min(there.to, there.from + chars(column - 1 + length)) };
}

const siteRange = (site, text) => range(site.line, site.column, Math.max(1, encoder.encode(text.split("\n")[0]).length));

function goTo(line, column) {
  const at = range(line, column, 0);
  if (!at) return;
  editor.dispatch({ selection: { anchor: at.from }, effects: EditorView.scrollIntoView(at.from, { y: "center" }) });
  editor.focus();
}

// ---- What is known of the dispatch ----

let known = {};

function triple(id) {
  const text = $(id).value.trim();
  if (!text) return undefined;
  const parts = text.split(/[,x× ]+/).map(Number);
  if (parts.length > 3 || parts.some((n) => !Number.isInteger(n) || n < 1)) {
    throw new Error(`${$(id).labels[0].textContent.trim()}: write one to three numbers, as 32,8`);
  }
  return parts;
}

function options() {
  const given = { target: $("target").value };
  const set = {};
  for (const [name, text] of Object.entries(known)) {
    const value = text === "true" ? 1 : text === "false" ? 0 : Number(text);
    if (!Number.isFinite(value)) throw new Error(`${name}: ${text} is no number`);
    set[name] = value;
  }
  if (Object.keys(set).length) given.set = set;
  const size = triple("workgroup_size");
  if (size) given.workgroup_size = size;
  const groups = triple("num_workgroups");
  if (groups) given.num_workgroups = groups;
  if ($("trace").checked) {
    const n = Number($("buffer_bytes").value || DEFAULT_BUFFER_BYTES);
    if (!Number.isInteger(n) || n < 1) throw new Error("Bytes of each buffer: write a whole number");
    given.buffer_bytes = n;
  }
  return given;
}

/** An input for each parameter that the shader has. Values of those that an edit took away are kept: it may come back. */
function showParameters(parameters) {
  // `n` may stand for `params.n`.
  for (const short of Object.keys(known)) {
    const whole = parameters.filter((p) => p.endsWith(`.${short}`));
    if (whole.length !== 1 || parameters.includes(short)) continue;
    known[whole[0]] ??= known[short];
    delete known[short];
  }
  const names = parameters.slice(0, 32);
  const before = [...$("parameters").querySelectorAll("input")].map((i) => i.name);
  if (before.join() === names.join()) return;
  $("parameters").replaceChildren(
    ...names.map((name) => {
      const input = make("input", { name, placeholder: "unknown", autocomplete: "off", value: known[name] ?? "" });
      input.oninput = () => {
        if (input.value.trim()) known[name] = input.value.trim();
        else delete known[name];
        later();
      };
      return make("label", {}, `${name} `, input);
    }),
  );
}

// ---- From text to answer ----

let shown = { report: { sites: [], findings: [], kernels: [] }, requests: [], texts: [], block_bytes: 128 };
let timer;

function later() {
  clearTimeout(timer);
  timer = setTimeout(ask, PAUSE_MS);
}

function say(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

const auditor = new Auditor();

async function ask() {
  const source = editor.state.doc.toString();
  let given;
  try {
    given = options();
  } catch (error) {
    return say(error.message, true);
  }
  toFragment(source, given).then((fragment) => history.replaceState(null, "", `#${fragment}`));
  const listing = !$("listing").hidden;
  const answer = await auditor.ask({ name: NAME, source, options: given, listing });
  // Another question has been asked meanwhile.
  if (!answer) return;
  if (answer.crash) {
    editor.dispatch({ effects: setMarks.of(Decoration.none) });
    document.body.dataset.state = "restarted";
    return say(`${answer.crash} The analyser was started again: change the shader to go on.`, true);
  }
  if (answer.error) return say(answer.error, true);
  shown = answer.inspected;
  const { report, trace_error, parameters } = shown;
  showParameters(parameters);
  showMarks();
  showFindings();
  showSites();
  showAccess();
  if (listing) $("listing").firstChild.textContent = answer.msl ?? answer.msl_error;
  const refused = report.kernels.find((k) => !k.analysed);
  const took = `Audited in ${answer.audit_ms < 10 ? answer.audit_ms.toFixed(1) : Math.round(answer.audit_ms)} ms.`;
  if (refused) say(refused.reason, true);
  else if (report.kernels.length === 0) say("There is no entry point in this text.", true);
  else if (trace_error) say(`${took} Not counted by a run: ${trace_error}.`, true);
  else say(took);
  document.body.dataset.state = "audited";
}

// ---- What is shown ----

/** Accesses of the page's own text, with their places. */
function* places() {
  for (const [ix, site] of shown.report.sites.entries()) {
    if (site.file !== NAME) continue;
    const at = siteRange(site, shown.texts[ix]);
    if (at) yield { ix, site, at };
  }
}

function showMarks() {
  const found = [];
  const byLine = new Map();
  for (const { site, at } of places()) {
    if (site.space === "uniform") continue;
    const kind = worth(site);
    if (at.to > at.from) found.push(Decoration.mark({ class: `access-${kind}` }).range(at.from, at.to));
    if (!byLine.has(site.line)) byLine.set(site.line, []);
    const parts = byLine.get(site.line);
    const text = brief(site);
    if (!parts.some((p) => p[0] === text)) parts.push([text, kind]);
  }
  for (const kernel of shown.report.kernels) {
    if (kernel.analysed || !kernel.line) continue;
    byLine.set(kernel.line, [["not analysed", "bad"]]);
  }
  for (const [line, parts] of byLine) {
    if (line > editor.state.doc.lines) continue;
    // What costs most comes first.
    parts.sort((a, b) => WORST_FIRST.indexOf(a[1]) - WORST_FIRST.indexOf(b[1]));
    const few = parts.length > 3 ? [...parts.slice(0, 3), [`${parts.length - 3} more`, "soft"]] : parts;
    const there = editor.state.doc.line(line);
    const widget = new Note(few, Math.min(12, /^ */.exec(there.text)[0].length));
    found.push(Decoration.widget({ widget, side: 1, block: true }).range(there.to));
  }
  editor.dispatch({ effects: setMarks.of(Decoration.set(found, true)) });
}

const at = (line, column) => make("button", { class: "at", type: "button", onclick: () => goTo(line, column) }, `line ${line}`);

function showFindings() {
  const { findings } = shown.report;
  const level = { error: "bad", warning: "fair", info: "soft" };
  $("n-findings").textContent = findings.length ? `(${findings.length})` : "";
  const rows = findings.map((f) => {
    const place = f.labels.find((l) => l.primary) ?? f.labels[0];
    const head = make(
      "p",
      {},
      make("span", { class: `verdict ${level[f.severity]}` }, `${f.severity}: `),
      `${f.message} `,
      make("span", { class: "soft" }, `[${f.code}] `),
      place && place.file === NAME ? at(place.line, place.column) : null,
    );
    const notes = [...f.labels.filter((l) => l.message).map((l) => `line ${l.line}: ${l.message}`), ...f.notes];
    return make("li", {}, head, notes.length ? make("ul", {}, ...notes.map((n) => make("li", { style: "all: revert" }, n))) : null);
  });
  const none = shown.report.kernels.some((k) => k.analysed) ? "None." : "Nothing could be analysed.";
  $("findings").replaceChildren(...(rows.length ? rows : [make("li", { class: "soft" }, none)]));
}

function share(site) {
  return site.fetched_bytes ? `${Math.round((100 * site.useful_bytes) / site.fetched_bytes)} %` : "–";
}

/** Bytes in blocks of the target as the run counted them. */
const tracedBytes = (site) => {
  const blocks = site.traced?.[`blocks${shown.block_bytes}`];
  return blocks === null || blocks === undefined ? null : blocks * shown.block_bytes;
};

function showSites() {
  const { sites } = shown.report;
  $("n-sites").textContent = sites.length ? `(${sites.length})` : "";
  $("sites").closest("table").classList.toggle("with-trace", sites.some((s) => s.traced));
  $("sites").replaceChildren(
    ...sites.map((site, ix) => {
      const traced = site.traced ? `${bytes(tracedBytes(site))}${site.traced.agrees === false ? " ≠" : ""}` : "–";
      const row = make(
        "tr",
        { onclick: () => goTo(site.line, site.column) },
        make("td", {}, at(site.line, site.column)),
        make("td", { title: shown.texts[ix] }, shown.texts[ix] || site.buffer),
        make("td", { class: worth(site) }, `${site.pattern} ${site.op}${site.space === "storage" ? "" : `, ${site.space}`}`),
        make("td", {}, bytes(site.useful_bytes)),
        make("td", {}, bytes(site.fetched_bytes)),
        make("td", {}, share(site)),
        make("td", {}, site.bank_ways === undefined ? "" : `${site.bank_ways}×`),
        make("td", { class: "traced" }, traced),
      );
      row.dataset.ix = ix;
      return row;
    }),
  );
}

function showAccess() {
  const head = editor.state.selection.main.head;
  const line = editor.state.doc.lineAt(head).number;
  const here = [...places()].filter((p) => p.site.line === line);
  const within = here.filter((p) => p.at.from <= head && head <= p.at.to);
  // The innermost one, or all of the line.
  const least = Math.min(...within.map((p) => p.at.to - p.at.from));
  const chosen = within.length ? within.filter((p) => p.at.to - p.at.from === least) : here;
  for (const row of $("sites").children) {
    row.setAttribute("aria-current", chosen.some((p) => String(p.ix) === row.dataset.ix));
  }
  const empty = make("p", { class: "soft" }, "Put the cursor on an underlined access to see which bytes its lanes touch.");
  $("access").replaceChildren(...(chosen.length ? chosen.slice(0, 6).map(detail) : [empty]));
}

/** One access in full. */
function detail({ ix, site }) {
  const kind = worth(site);
  const request = shown.requests[ix];
  const rows = [];
  const row = (name, value) => rows.push(make("dt", {}, name), make("dd", {}, value));
  if (site.fetched_bytes !== null && site.space !== "workgroup") {
    row("Used", `${number(site.useful_bytes)} of ${number(site.fetched_bytes)} bytes fetched (${share(site)})`);
    row("Blocks", `${number(site.blocks32)} of 32 B, ${number(site.blocks64)} of 64 B, ${number(site.blocks128)} of 128 B`);
  }
  row("Each lane", `${site.op}s ${site.bytes_per_lane} B`);
  if (site.active_lanes !== null) row("Lanes", `${number(site.active_lanes)} take part`);
  if (site.stride_bytes !== null) row("Stride", `${number(site.stride_bytes)} B between lanes`);
  else if (site.stride_symbol) row("Stride", `${site.stride_symbol} B between lanes`);
  if (site.bank_ways !== undefined) row("Banks", `${site.bank_ways} words from the busiest`);
  if (site.copies > 1) row("Copies", `${site.copies_alike} of ${site.copies} like this, the worst`);
  row("Confidence", site.confidence);
  for (const note of site.assumptions) row("Assumed", note);
  if (site.traced) {
    const agrees = { true: ", as counted from the text", false: ", which DIFFERS from the text's count", null: "" }[site.traced.agrees];
    row("Run", `${number(site.traced.requests)} requests, ${bytes(tracedBytes(site))} fetched each${agrees}`);
  }
  const article = make(
    "article",
    {},
    make("h3", {}, shown.texts[ix] || site.buffer),
    make("p", {}, make("span", { class: `verdict ${kind}` }, site.pattern), make("span", { class: "soft" }, ` ${site.op}, ${site.space}, in ${site.kernel}`)),
  );
  if (site.fetched_bytes && site.space !== "workgroup") {
    const part = Math.max(1, Math.min(100, (100 * site.useful_bytes) / site.fetched_bytes));
    article.append(make("div", { class: `bar ${kind}` }, make("i", { style: `width: ${part}%` })));
  }
  if (request.length) {
    const map =
      site.space === "workgroup" && site.bank_model
        ? bankMap(request, site.bytes_per_lane, site.bank_model)
        : blockMap(request, site.bytes_per_lane, shown.block_bytes);
    const made = site.confidence === "exact" ? "" : " One request, with values made up for what is not known.";
    article.append(map.svg, make("p", { class: "soft" }, map.caption + made));
  }
  article.append(make("dl", {}, ...rows));
  return article;
}

// ---- Controls ----

function open(source, given) {
  known = Object.fromEntries(Object.entries(given.set ?? {}).map(([k, v]) => [k, String(v)]));
  if (given.target) $("target").value = given.target;
  $("workgroup_size").value = given.workgroup_size?.join(",") ?? "";
  $("num_workgroups").value = given.num_workgroups?.join(",") ?? "";
  $("trace").checked = given.buffer_bytes !== undefined;
  $("buffer_bytes").value = given.buffer_bytes ?? DEFAULT_BUFFER_BYTES;
  $("parameters").replaceChildren();
  editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: source }, selection: { anchor: 0 } });
  clearTimeout(timer);
  ask();
}

$("example").append(make("option", { value: "" }, "…"), ...examples.map((e) => make("option", { value: e.id }, e.title)));
$("example").onchange = () => {
  const chosen = examples.find((e) => e.id === $("example").value);
  if (chosen) open(chosen.source, { ...chosen.options, target: $("target").value });
};
for (const id of ["target", "workgroup_size", "num_workgroups", "trace", "buffer_bytes"]) $(id).oninput = later;
$("known").onsubmit = (event) => event.preventDefault();

function choose(listing) {
  $("listing").hidden = !listing;
  $("access").hidden = listing;
  $("tab-msl").setAttribute("aria-selected", listing);
  $("tab-access").setAttribute("aria-selected", !listing);
  if (listing) ask();
}
$("tab-access").onclick = () => choose(false);
$("tab-msl").onclick = () => choose(true);

$("share").onclick = async () => {
  history.replaceState(null, "", `#${await toFragment(editor.state.doc.toString(), options())}`);
  try {
    await navigator.clipboard.writeText(location.href);
    say("The link is in the clipboard: it holds the shader itself.");
  } catch {
    say("The link is in the address bar: it holds the shader itself.");
  }
};

$("theme").onclick = () => {
  const root = document.documentElement;
  const dark = getComputedStyle(root).colorScheme === "dark" || (root.dataset.theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  root.dataset.theme = dark ? "light" : "dark";
  try {
    localStorage.setItem("theme", root.dataset.theme);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
};

async function begin() {
  const linked = await fromFragment(location.hash.slice(1));
  if (linked) {
    open(linked.source, linked.options);
  } else {
    $("example").value = examples[0].id;
    open(examples[0].source, examples[0].options);
    if (location.hash.length > 1) say("This link can't be read: here is an example instead.", true);
  }
}
addEventListener("hashchange", begin);
begin();
