// Puts the pages together as static files in site/: any host serves them, and no other is asked for anything.
import { cp, mkdir, readFile, rm } from "node:fs/promises";
import { build } from "esbuild";

const site = new URL("site/", import.meta.url);
const here = (path) => new URL(path, import.meta.url);
await rm(site, { recursive: true, force: true });
await mkdir(site);
const examples = JSON.parse(await readFile(here("page/examples.json"), "utf8"));
for (const e of examples) e.source = await readFile(here(`page/examples/${e.id}.wgsl`), "utf8");
await build({
  entryPoints: Object.fromEntries(
    ["main", "worker", "gpu", "gpu-worker"].map((name) => [name, here(`page/${name}.mjs`).pathname]),
  ),
  outdir: site.pathname,
  bundle: true,
  format: "esm",
  minify: true,
  target: "es2022",
  define: { EXAMPLES: JSON.stringify(examples) },
  legalComments: "linked",
  external: ["node:fs/promises"],
  logLevel: "warning",
});
for (const file of ["index.html", "gpu.html", "style.css"]) await cp(here(`page/${file}`), new URL(file, site));
for (const file of ["marlin_web_bg.wasm", "marlin_web_gpu_bg.wasm"]) await cp(here(`pkg/${file}`), new URL(file, site));
