// Runs the WebAssembly apart from the page, which replaces this worker after a trap or when it takes too long.
import { load } from "../index.mjs";

const loading = load(new URL("marlin_web_bg.wasm", self.location.href));
loading.then(
  () => postMessage({ ready: true }),
  (error) => postMessage({ failed: `The WebAssembly can't be loaded: ${error.message}` }),
);

function attempt(work) {
  try {
    return { value: work() };
  } catch (error) {
    return error.trapped ? { crash: error.message } : { error: error.message };
  }
}

onmessage = async ({ data: { id, name, source, options, listing } }) => {
  const marlin = await loading.catch(() => null);
  if (!marlin) return;
  const start = performance.now();
  const audited = attempt(() => marlin.inspect(source, options, name));
  const audit_ms = performance.now() - start;
  if (audited.crash) return postMessage({ id, crash: audited.crash });
  const { buffer_bytes: _, ...plain } = options;
  const text = listing ? attempt(() => marlin.msl(source, plain, name)) : {};
  postMessage({
    id,
    audit_ms,
    inspected: audited.value,
    error: audited.error,
    msl: text.value,
    msl_error: text.error ?? text.crash,
  });
};
