// The shader and what is known of it in the URL's fragment, which browsers send nowhere.

const through = async (stream, data) =>
  new Uint8Array(await new Response(new Blob([data]).stream().pipeThrough(stream)).arrayBuffer());

/** `s=` and the deflated JSON in base64url. */
export async function toFragment(source, options) {
  const json = new TextEncoder().encode(JSON.stringify({ source, options }));
  const packed = await through(new CompressionStream("deflate-raw"), json);
  let text = "";
  for (const byte of packed) text += String.fromCharCode(byte);
  return `s=${btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`;
}

/** What a fragment holds; null where it holds nothing that can be read. */
export async function fromFragment(fragment) {
  const packed = /^s=([\w-]+)$/.exec(fragment)?.[1];
  if (!packed) return null;
  try {
    const raw = Uint8Array.from(atob(packed.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    const json = await through(new DecompressionStream("deflate-raw"), raw);
    const { source, options } = JSON.parse(new TextDecoder().decode(json));
    return typeof source === "string" ? { source, options: options ?? {} } : null;
  } catch {
    return null;
  }
}
