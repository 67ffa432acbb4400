// The lane map: which bytes of which blocks, or which banks, the lanes of one request ask for.

const SVG = "http://www.w3.org/2000/svg";
/** Blocks that are drawn; the rest is a number. */
const MOST_ROWS = 10;
const WIDTH = 360;

function element(name, attributes, ...children) {
  const e = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  e.append(...children);
  return e;
}

/** Neighbouring lanes have neighbouring colours, so that order shows. */
const colour = (nth, of) => `hsl(${Math.round(200 + (250 * nth) / Math.max(of, 1)) % 360} 62% 52%)`;

const list = (lanes) =>
  lanes.length > 6 ? `lanes ${lanes.slice(0, 6).join(", ")} and ${lanes.length - 6} more` : `lane${lanes.length > 1 ? "s" : ""} ${lanes.join(", ")}`;

/** A cell with what the pointer is told. */
function cell(x, y, width, height, fill, title) {
  const rect = element("rect", { x, y, width, height, rx: 1.5, ...(fill ? { fill } : { class: "empty" }) });
  if (title) rect.append(element("title", {}, title));
  return rect;
}

/**
 * Memory as rows of one block each, 32 cells per row. `request` is [lane, byte offset] per active lane.
 * Returns the picture and a sentence that says the same.
 */
export function blockMap(request, bytesPerLane, blockBytes) {
  const cellBytes = blockBytes / 32;
  const wide = Math.min(bytesPerLane, 256);
  const cells = new Map();
  request.forEach(([lane, offset], nth) => {
    for (let c = Math.floor(offset / cellBytes); c * cellBytes < offset + wide; c++) {
      if (!cells.has(c)) cells.set(c, []);
      cells.get(c).push({ lane, nth });
    }
  });
  const blocks = [...new Set([...cells.keys()].map((c) => Math.floor(c / 32)))].sort((a, b) => a - b);
  const shown = blocks.length > MOST_ROWS + 1 ? blocks.slice(0, MOST_ROWS) : blocks;
  const size = (WIDTH - 58) / 32;
  const svg = element("svg", { class: "map", viewBox: `0 0 ${WIDTH} ${shown.length * 13 + 4}`, role: "img" });
  shown.forEach((block, row) => {
    const y = row * 13 + 2;
    svg.append(element("text", { x: 0, y: y + 8.5 }, `+${(block - blocks[0]) * blockBytes}`));
    for (let i = 0; i < 32; i++) {
      const there = cells.get(block * 32 + i);
      const title = there && `bytes +${((block - blocks[0]) * 32 + i) * cellBytes}: ${list(there.map((t) => t.lane))}`;
      svg.append(cell(56 + i * size, y, size - 0.8, 11, there && colour(there[0].nth, request.length), title));
    }
  });
  const more = blocks.length - shown.length;
  const one = `${request.length} ${request.length === 1 ? "lane touches" : "lanes touch"} ${blocks.length} ${blocks.length === 1 ? "block" : "blocks"} of ${blockBytes} bytes`;
  svg.setAttribute("aria-label", one);
  return { svg, caption: one + (more > 0 ? `; ${more} more are not drawn` : "") + ". A cell is " + bytes(cellBytes) + "." };
}

const bytes = (n) => `${n} byte${n === 1 ? "" : "s"}`;

/** Banks as columns, and in each the words that a request asks of it. `model` is "32 banks of 4 B". */
export function bankMap(request, bytesPerLane, model) {
  const [banks, bankBytes] = model.match(/\d+/g).map(Number);
  const words = new Map();
  request.forEach(([lane, offset], nth) => {
    for (let w = Math.floor(offset / bankBytes); w * bankBytes < offset + bytesPerLane; w++) {
      if (!words.has(w)) words.set(w, []);
      words.get(w).push({ lane, nth });
    }
  });
  const columns = Array.from({ length: banks }, () => []);
  for (const [word, there] of [...words].sort((a, b) => a[0] - b[0])) {
    columns[((word % banks) + banks) % banks].push({ word, there });
  }
  const most = Math.max(...columns.map((c) => c.length));
  const shown = Math.min(most, 32);
  const size = (WIDTH - 4) / banks;
  const height = Math.max(4, Math.min(11, 160 / shown));
  const svg = element("svg", { class: "map", viewBox: `0 0 ${WIDTH} ${shown * height + 16}`, role: "img" });
  columns.forEach((column, bank) => {
    const x = 2 + bank * size;
    if (column.length === 0) svg.append(cell(x, (shown - 1) * height + 2, size - 0.8, height - 0.8, null, `bank ${bank}: idle`));
    column.slice(0, shown).forEach(({ word, there }, i) => {
      const y = (shown - 1 - i) * height + 2;
      const title = `bank ${bank}, word ${word}: ${list(there.map((t) => t.lane))}`;
      svg.append(cell(x, y, size - 0.8, height - 0.8, colour(there[0].nth, request.length), title));
    });
    if (bank % 8 === 0) svg.append(element("text", { x, y: shown * height + 12 }, `${bank}`));
  });
  const caption = `${model}: the busiest bank delivers ${most} ${most === 1 ? "word" : "words"} to ${request.length} ${request.length === 1 ? "lane" : "lanes"}.`;
  svg.setAttribute("aria-label", caption);
  return { svg, caption };
}
