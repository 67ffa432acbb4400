// Prints what the page loads, as it is and as a host sends it, and fails where the module is above its limit.
import { readFile, readdir } from "node:fs/promises";
import { brotliCompressSync, constants } from "node:zlib";

/** Bytes of the playground's module after brotli: what a phone loads before the first answer. */
const MOST_WASM_BYTES = 600_000;

const site = new URL("site/", import.meta.url);
let wasm = 0;
for (const file of (await readdir(site)).sort()) {
  const data = await readFile(new URL(file, site));
  const packed = brotliCompressSync(data, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: data.length } });
  console.log(`${file}: ${data.length} B, ${packed.length} B by brotli`);
  if (file === "marlin_web_bg.wasm") wasm = packed.length;
}
if (wasm === 0 || wasm > MOST_WASM_BYTES) {
  console.error(`the module has ${wasm} B by brotli: at most ${MOST_WASM_BYTES} are wanted`);
  process.exit(1);
}
