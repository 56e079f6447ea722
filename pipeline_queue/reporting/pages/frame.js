// The frame of a plot of dots: axes with their grid, two canvases, and the dot under the pointer.
import { canvases, cut, drawn, wipe } from "./dom.js";
import { readPalette } from "./palette.js";
import { spaced } from "./scales.js";

export const FRAME_HEIGHT = 340;
const LEFT = 66, RIGHT = 14, UPPER = 12, LOWER = 44;

// Builds the frame in `place`; `across` and `up` are {ticks} with a name. Gives pixels: px(where), py(where).
export function buildFrame(place, model, { across, up, title, label }) {
  const width = Math.max(280, place.parentElement.clientWidth), height = FRAME_HEIGHT;
  const px = (where) => LEFT + where * (width - LEFT - RIGHT), py = (where) => height - LOWER - where * (height - UPPER - LOWER);
  const svg = drawn("svg", { width, height, role: "img", "aria-label": label });
  for (const [where, text] of spaced(across, width - LEFT - RIGHT, 56))
    svg.append(drawn("line", { class: "grid", x1: px(where), x2: px(where), y1: UPPER - 6, y2: height - LOWER + 6 }), drawn("text", { x: px(where), y: height - LOWER + 20, "text-anchor": "middle" }, cut(text, 11)));
  for (const [where, text] of spaced(up, height - UPPER - LOWER, 16))
    svg.append(drawn("line", { class: "grid", x1: LEFT - 6, x2: width - RIGHT + 6, y1: py(where), y2: py(where) }), drawn("text", { x: LEFT - 10, y: py(where) + 4, "text-anchor": "end" }, cut(text, 9)));
  svg.append(drawn("text", { class: "title", x: (LEFT + width - RIGHT) / 2, y: height - 6, "text-anchor": "middle" }, cut(title, 40)));
  place.replaceChildren(svg);
  Object.assign(place.style, { height: `${height}px` });
  const [dots, top] = canvases(place, width, height), frame = { svg, px, py, dots, top, x: [], y: [] };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    model.light(model.nearest((index) => Math.hypot(frame.x[index] - x, frame.y[index] - y), 14));
  });
  svg.addEventListener("pointerleave", () => model.light(-1));
  return frame;
}
// Draws the runs of `order` that have both values; gives how many have not.
export function drawDots(frame, order, colour) {
  const context = frame.dots;
  wipe(context);
  context.globalAlpha = Math.max(0.35, Math.min(0.9, 20 / Math.sqrt(order.length + 1)));
  let without = 0;
  for (const index of order) {
    if (Number.isNaN(frame.x[index] + frame.y[index])) { without++; continue; }
    context.fillStyle = colour(index);
    context.beginPath();
    context.arc(frame.x[index], frame.y[index], order.length > 500 ? 2.5 : 4, 0, 7);
    context.fill();
  }
  return without;
}
export function ringDot(frame, index) {
  wipe(frame.top);
  if (index < 0 || !Number.isFinite(frame.x[index] + frame.y[index])) return;
  Object.assign(frame.top, { strokeStyle: readPalette().mark, lineWidth: 2.5 });
  frame.top.beginPath();
  frame.top.arc(frame.x[index], frame.y[index], 7, 0, 7);
  frame.top.stroke();
}
