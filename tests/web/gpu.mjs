// The library's kernels in a real browser's WebGPU, on its software adapter: every family's smoke cases with and without
// subgroups, edges of one family, times, a lost device, and a browser without WebGPU.
//   node gpu.mjs CHROMIUM SHOTS_DIR
// Prints exact counts; ends with 1 where a result is wrong or the log is not empty.
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { serve } from "../../examples/web/serve.mjs";

const [executablePath, shots] = process.argv.slice(2);
const puppeteer = createRequire(new URL("../../examples/web/package.json", import.meta.url))("puppeteer-core");
await mkdir(shots, { recursive: true });

const server = await serve(0);
const origin = `http://127.0.0.1:${server.address().port}`;
const problems = [];
let checks = 0;

/** An assertion that counts. */
function check(fact, what) {
  assert.ok(fact, what);
  checks++;
}

const launch = (args) => puppeteer.launch({ executablePath, headless: true, protocolTimeout: 300_000, args: ["--no-sandbox", ...args] });

async function open(browser, viewport = { width: 1280, height: 900 }, scheme = "light") {
  const page = await browser.newPage();
  page.on("pageerror", (e) => problems.push(`error: ${e.message}`));
  page.on("console", (m) => ["error", "warn"].includes(m.type()) && problems.push(`console: ${m.text()}`));
  await page.setViewport(viewport);
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await page.goto(`${origin}/gpu.html`);
  await page.waitForFunction("['ready', 'stopped'].includes(document.body.dataset.state)", { timeout: 60_000 });
  return page;
}

const status = (page) => page.$eval("#status", (e) => e.textContent);

/** Presses Run and returns the rows as the page shows them. */
async function run(page, family, cases, timed) {
  await page.select("#family", family);
  await page.select("#cases", cases);
  if ((await page.$eval("#timed", (e) => e.checked)) !== timed) await page.click("#timed");
  await page.evaluate("document.body.dataset.state = ''");
  await page.click("#run");
  await page.waitForFunction("['done', 'stopped'].includes(document.body.dataset.state)", { timeout: 280_000 });
  const cells = (rows) => rows.map((r) => [r.dataset.case, ...[...r.children].map((c) => c.textContent)]);
  return page.$$eval("#rows tr[data-case]", cells);
}

const browser = await launch(["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"]);
try {
  const page = await open(browser);
  check((await status(page)) === "Ready.", `a device: ${await status(page)}`);
  const families = await page.$$eval("#family option", (all) => all.map((o) => o.value));
  for (const subgroups of [true, false]) {
    if (!subgroups) {
      await page.evaluate("document.body.dataset.state = ''");
      await page.click("#subgroups");
      await page.waitForFunction("document.body.dataset.state === 'ready'", { timeout: 30_000 });
    }
    check((await page.$eval("#about", (e) => e.textContent)).includes("no subgroups") === !subgroups, "subgroups as asked");
    let [verified, refused] = [0, 0];
    const wrong = [];
    const seconds = [];
    for (const family of families) {
      const start = performance.now();
      for (const row of await run(page, family, "smoke", false)) {
        if (row[2] === "verified") verified++;
        else if (row[2].startsWith("needs ") || row[2].startsWith("no variant")) refused++;
        else wrong.push(`${family}/${row[1]} at ${row[0]}: ${row[2]}`);
      }
      check(/0 failed\.$/.test(await status(page)), `${family}: ${await status(page)}; ${wrong.join("\n")}`);
      seconds.push(`${family} ${((performance.now() - start) / 1e3).toFixed(0)} s`);
    }
    console.log(`gpu: ${seconds.join(", ")}`);
    console.log(`gpu: ${families.length} families, ${subgroups ? "with" : "without"} subgroups: ${verified} rows verified, ${refused} refused, ${wrong.length} wrong`);
    check(wrong.length === 0 && verified > 50, wrong.join("\n"));
  }
  const edges = await run(page, "router", "edge", false);
  console.log(`gpu: edges of router: ${edges.filter((r) => r[2] === "verified").length} of ${edges.length} rows verified, ${await status(page)}`);
  check(/0 failed\.$/.test(await status(page)), await status(page));
  const timed = await run(page, "gemv", "smoke", true);
  check(timed.every((r) => r[2] !== "verified" || /[µm]s$/.test(r[4])), "what is verified has a time");
  await page.screenshot({ path: `${shots}/gpu-desktop-light.png` });
  const phone = await open(browser, { width: 390, height: 844, isMobile: true, hasTouch: true }, "dark");
  await run(phone, "gemv", "smoke", false);
  check((await phone.evaluate("document.documentElement.scrollWidth")) <= 390, "no wider than a phone");
  await phone.screenshot({ path: `${shots}/gpu-phone-dark.png`, fullPage: true });
  await phone.close();

  // A lost device is a sentence, and the next run asks for another.
  await page.evaluate("document.body.dataset.state = ''");
  await page.workers()[0].evaluate("self.device.destroy()");
  await page.waitForFunction("document.body.dataset.state === 'stopped'", { timeout: 30_000 });
  check(/^The device was lost/.test(await status(page)), await status(page));
  const again = await run(page, "dequant", "smoke", false);
  check(again.some((r) => r[2] === "verified") && /0 failed\.$/.test(await status(page)), `after the loss: ${await status(page)}`);
  await page.close();
} finally {
  await browser.close();
}

const without = await launch(["--disable-features=WebGPU", "--disable-gpu"]);
try {
  const page = await open(without);
  const said = await status(page);
  console.log(`gpu: without WebGPU: ${said}`);
  check(/WebGPU/.test(said), said);
} finally {
  await without.close();
  server.close();
}
check(problems.length === 0, `an empty log: ${problems.join("\n")}`);
console.log(`gpu: ${checks} checks of the kernels in a browser hold; screenshots in ${shots}`);
