// The library on WebGPU, apart from the page: preparing and judging a case takes a processor's time.
import init, { Device, list } from "../pkg/marlin_web_gpu.js";

/** Set by the page before a device is asked for. */
let wanted = { subgroups: true };
/** The browser's own device: wgpu can't ask for subgroups yet (gfx-rs/wgpu#10146), so they are added here. */
self.device = undefined;

if (self.GPUAdapter) {
  const request = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = async function (descriptor = {}) {
    const features = new Set(descriptor.requiredFeatures ?? []);
    if (wanted.subgroups && this.features.has("subgroups")) features.add("subgroups");
    self.device = await request.call(this, { ...descriptor, requiredFeatures: [...features] });
    self.device.lost.then(({ message }) => {
      opened = undefined;
      postMessage({ lost: message || "no reason was given" });
    });
    return self.device;
  };
}

let opened;
const ready = init({ module_or_path: new URL("marlin_web_gpu_bg.wasm", self.location.href) }).then(
  () => postMessage({ families: JSON.parse(list()), webgpu: Boolean(self.navigator.gpu) }),
  (error) => postMessage({ failed: `The WebAssembly can't be loaded: ${error.message}` }),
);

onmessage = async ({ data }) => {
  await ready;
  try {
    if (data.open) {
      wanted = data.open;
      if (!(await self.navigator.gpu.requestAdapter())) {
        throw new Error("This browser has WebGPU but no adapter for it: its settings, the driver or a block list keep the GPU away.");
      }
      opened = await Device.open();
      return postMessage({ about: JSON.parse(opened.about()) });
    }
    const { family, edge, budget_ms } = data.run;
    if (!opened) throw new Error("there is no device");
    await opened.compare(family, edge, budget_ms, (row) => postMessage({ row: JSON.parse(row) }));
    postMessage({ done: true, stray: JSON.parse(opened?.stray_errors() ?? "[]") });
  } catch (error) {
    postMessage({ failed: error.message });
  }
};
