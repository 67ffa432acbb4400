// Drives the playground in a real browser: typing, annotations, lane map, crash and restart, permalink, phone and dark.
//   node browser.mjs CHROMIUM SHOTS_DIR
// Prints what was seen; ends with 1 at the first that is not as it should be.
import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { serve } from "../../examples/web/serve.mjs";

const [executablePath, shots] = process.argv.slice(2);
const puppeteer = createRequire(new URL("../../examples/web/package.json", import.meta.url))("puppeteer-core");
await mkdir(shots, { recursive: true });

const server = await serve(0);
const origin = `http://127.0.0.1:${server.address().port}`;
const browser = await puppeteer.launch({ executablePath, headless: true, args: ["--no-sandbox", "--disable-gpu"] });
let checks = 0;

/** An assertion that counts. */
function check(fact, what) {
  assert.ok(fact, what);
  checks++;
}

const problems = [];
const requests = [];

async function open(hash = "", viewport = { width: 1280, height: 900 }, scheme = "light") {
  const page = await browser.newPage();
  page.on("pageerror", (e) => problems.push(`error: ${e.message}`));
  page.on("console", (m) => ["error", "warn"].includes(m.type()) && problems.push(`console: ${m.text()}`));
  page.on("request", (r) => requests.push(r.url()));
  await page.setViewport({ ...viewport, isMobile: viewport.width < 500, hasTouch: viewport.width < 500 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await page.goto(`${origin}/${hash}`);
  await page.waitForFunction("document.body.dataset.state === 'audited'", { timeout: 30_000 });
  return page;
}

const text = (page, selector) => page.$eval(selector, (e) => e.textContent);
const texts = (page, selector) => page.$$eval(selector, (all) => all.map((e) => e.textContent));

/** Pastes a text over the editor's, and waits for the status to say something else. */
async function replace(page, source) {
  await page.evaluate(() => {
    document.body.dataset.state = "";
    document.getElementById("status").textContent = "";
  });
  await page.click(".cm-content");
  await page.keyboard.down("Control");
  await page.keyboard.press("KeyA");
  await page.keyboard.up("Control");
  await page.evaluate((source) => {
    const clipboardData = new DataTransfer();
    clipboardData.setData("text/plain", source);
    const paste = new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true });
    document.querySelector(".cm-content").dispatchEvent(paste);
  }, source);
  await page.waitForFunction("document.getElementById('status').textContent !== ''", { timeout: 40_000 });
  return text(page, "#status");
}

try {
  // The first answer, from an empty cache.
  const start = performance.now();
  const page = await open();
  const first_ms = performance.now() - start;
  check((await texts(page, ".note")).some((t) => /4 \/ 128|128 \/ 4,096/.test(t) && t.includes("strided")), "the strided store is annotated");
  check((await text(page, ".promise")).includes("nothing leaves this page"), "the promise");
  check((await page.$$("#findings li")).length > 0, "findings");
  check((await page.$$("#sites tr")).length >= 3, "accesses");

  // The access under the cursor.
  await page.evaluate(() => [...document.querySelectorAll("#sites tr")].find((r) => r.textContent.includes("output[")).click());
  check((await text(page, "#access h3")).includes("output["), "the access at the cursor");
  const map = await page.$eval("#access svg", (s) => [s.getAttribute("aria-label"), s.querySelectorAll("rect[fill]").length]);
  check(/32 lanes touch 32 blocks of 128 bytes/.test(map[0]), `the lane map says: ${map[0]}`);
  check(map[1] === 10, `a lane per block drawn: ${map[1]}`);

  // A traced run beside it.
  await page.click("#trace");
  await page.waitForFunction("document.querySelector('table').classList.contains('with-trace')", { timeout: 30_000 });
  check((await text(page, "#sites")).includes("4,096 B"), "the traced count");
  check((await page.$$eval("#sites tr", (rows) => rows.filter((r) => r.textContent.includes("≠")).length)) === 0, "no disagreement");
  await page.screenshot({ path: `${shots}/desktop-light.png` });

  // Metal text.
  await page.click("#tab-msl");
  await page.waitForFunction("document.querySelector('#listing pre').textContent.includes('kernel void')", { timeout: 10_000 });
  checks++;
  await page.click("#tab-access");

  // Banks: the tiled transpose, and its mend by one key.
  await page.select("#example", "transpose_tiled");
  await page.waitForFunction("[...document.querySelectorAll('.note')].some(n => n.textContent.includes('bank-conflict 32×'))", { timeout: 10_000 });
  checks++;
  const line = await page.evaluateHandle(() => [...document.querySelectorAll(".cm-line")].find((l) => l.textContent.startsWith("const PITCH")));
  await line.click({ offset: { x: 170, y: 8 } });
  await page.keyboard.press("End");
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.type(" + 1u");
  await page.waitForFunction("![...document.querySelectorAll('.note')].some(n => n.textContent.includes('bank-conflict'))", { timeout: 10_000 });
  checks++;
  check((await text(page, ".cm-content")).includes("const PITCH = TILE + 1u;"), "what was typed is there");

  // The link holds the text and what is known.
  await page.waitForFunction("location.hash.length > 40");
  await new Promise((done) => setTimeout(done, 400));
  const hash = await page.evaluate("location.hash");
  const linked = await open(hash);
  check((await text(linked, ".cm-content")).includes("const PITCH = TILE + 1u;"), "the link's text");
  check((await linked.$eval("#parameters input", (i) => i.value)) === "1024", "the link's parameter");
  check((await linked.$eval("#num_workgroups", (i) => i.value)) === "32,32", "the link's grid");
  await linked.close();
  const broken = await open("#s=AAAA");
  check((await texts(broken, ".note")).length > 0, "a broken link shows an example");
  await broken.close();

  // Mistakes: each a sentence, and the page goes on.
  const good = await readFile(new URL("../../examples/web/page/examples/structs.wgsl", import.meta.url), "utf8");
  const syntax = await replace(page, "@compute @workgroup_size(64)\nfn main() { let x = ; }");
  check(/kernel\.wgsl:2:/.test(syntax), `a syntax error: ${syntax}`);
  check((await texts(page, ".note")).some((t) => t.includes("not analysed")), "marked in its line");
  const fault = await readFile(new URL("../fixtures/lower/constant_f16_from_u32_too_large.wgsl", import.meta.url), "utf8");
  check(/naga can't read it/.test(await replace(page, fault)), "a panic of naga's is a sentence");
  check(/^Audited in/.test(await replace(page, good)), "and the page goes on");
  // A member 20,000 structs deep: no stack of a browser holds it.
  const head = "@group(0) @binding(0) var<storage, read_write> y: array<u32>;\n@compute @workgroup_size(64)\nfn main(@builtin(global_invocation_id) g: vec3<u32>) {\n";
  let deep = "struct S0 { a: u32 }\n";
  for (let i = 1; i < 20_000; i++) deep += `struct S${i} { a: S${i - 1} }\n`;
  deep += `@group(0) @binding(0) var<storage, read_write> y: S19999;\n@compute @workgroup_size(64)\nfn main() { y${".a".repeat(20_000)} = 1u; }\n`;
  const trapped = await replace(page, deep);
  console.log(`browser: 20,000 structs deep: ${trapped.slice(0, 160)}`);
  check(/The analyser (stopped|took)/.test(trapped), "a trap is a sentence");
  check(/^Audited in/.test(await replace(page, good)), "and the page goes on with a new worker");
  let long = head;
  for (let i = 0; i < 5_000; i++) long += `    y[g.x * 2u + ${i}u] = ${i}u;\n`;
  const longest = await replace(page, `${long}}\n`);
  console.log(`browser: 5,000 lines with an access each: ${longest}`);
  check(longest.length > 10, "5,000 lines have an answer");
  check(/^Audited in/.test(await replace(page, good)), "and the page goes on");

  // A pause in typing, at 300 lines.
  const lines = await readFile(new URL("../../examples/web/page/examples/gemv_optimized.wgsl", import.meta.url), "utf8");
  const took_ms = [];
  for (let i = 0; i < 5; i++) {
    const said = await replace(page, `${lines}// ${i}\n`);
    took_ms.push(Number(/Audited in ([\d.]+) ms/.exec(said)[1]));
  }
  const median_ms = took_ms.sort((a, b) => a - b)[2];
  console.log(`browser: first answer after ${first_ms.toFixed(0)} ms; ${lines.split("\n").length} lines audited in ${median_ms} ms`);
  check(first_ms < 10_000, "a first answer");
  await page.close();

  // Phone and dark.
  for (const [width, height, scheme, name] of [
    [390, 844, "light", "phone-light"],
    [390, 844, "dark", "phone-dark"],
    [1280, 900, "dark", "desktop-dark"],
  ]) {
    const there = await open("", { width, height }, scheme);
    await there.evaluate(() => [...document.querySelectorAll("#sites tr")].find((r) => r.textContent.includes("output[")).click());
    const wide = await there.evaluate("document.documentElement.scrollWidth");
    check(wide <= width, `${name}: ${wide} pixels wide`);
    const dark = await there.evaluate("getComputedStyle(document.body).backgroundColor");
    check((Number(/\d+/.exec(dark)[0]) < 80) === (scheme === "dark"), `${name}: the page is ${dark}`);
    await there.evaluate("scrollTo(0, 0)");
    await there.screenshot({ path: `${shots}/${name}.png`, fullPage: width < 500 });
    await there.close();
  }
  const foreign = requests.filter((url) => !url.startsWith(origin) && !url.startsWith("data:") && !url.startsWith("blob:"));
  check(foreign.length === 0, `nothing leaves the page: ${foreign}`);
  check(problems.length === 0, `an empty log: ${problems.join("\n")}`);
  console.log(`browser: ${checks} checks of the playground hold; screenshots in ${shots}`);
} finally {
  await browser.close();
  server.close();
}
