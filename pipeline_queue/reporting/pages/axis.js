// One axis of the parallel coordinates: its ticks, its brush by pointer and keyboard, and its log switch.
import { cut, drawn } from "./dom.js";
import { spaced } from "./scales.js";

export const PLOT_TOP = 26;
export const PLOT_HEIGHT = 300;
export const PLOT_LOWER = 54;
export const MISSING_GAP = 22;
const BRUSH_STEP = 0.05;

export const pixelOf = (where) => PLOT_TOP + PLOT_HEIGHT * (1 - where);

// `relay` is called when the scale has become another.
export function buildAxis(svg, model, column, x, gap, relay) {
  const info = model.extent(column);
  const group = drawn("g", { class: "axis", "data-key": column.name, tabindex: "0", role: "slider", "aria-orientation": "vertical", "aria-label": `Limits of ${column.name}`, "aria-valuemin": "0", "aria-valuemax": "100" });
  const title = drawn("text", { x, y: 13, "text-anchor": "middle", class: "title" }, cut(column.name, Math.floor(gap / 7.5)));
  title.append(drawn("title", {}, column.name));
  group.append(title, drawn("rect", { class: "hit", x: x - 16, y: PLOT_TOP - 8, width: 32, height: PLOT_HEIGHT + 16, rx: 4 }), drawn("line", { class: "spine", x1: x, x2: x, y1: PLOT_TOP, y2: PLOT_TOP + PLOT_HEIGHT }));
  const ticks = drawn("g"), brush = drawn("rect", { class: "brush", x: x - 8, width: 16, rx: 2 });
  group.append(ticks, brush);
  if (info.missing) group.append(drawn("text", { x: x - 7, y: PLOT_TOP + PLOT_HEIGHT + MISSING_GAP + 4, "text-anchor": "end" }, "none"));
  svg.append(group);
  const axis = { column, x, ticks, brush, group };
  brushByPointer(svg, model, axis);
  brushByKeys(model, axis);
  if (model.canLog(column) && info.distinct.length > 1) svg.append(scaleButton(model, axis, relay));
  return axis;
}
function scaleButton(model, { column, x }, relay) {
  const button = drawn("g", { class: "scale", "data-key": `scale of ${column.name}`, role: "button", tabindex: "0" });
  const text = drawn("text", { x, y: PLOT_TOP + PLOT_HEIGHT + PLOT_LOWER - 10, "text-anchor": "middle" });
  const label = () => {
    text.textContent = model.isLog(column) ? "log" : "linear";
    button.setAttribute("aria-label", `${column.name}: ${text.textContent} scale; press to change`);
  };
  const turn = () => {
    model.toggleLog(column);
    label();
    relay();
  };
  button.append(drawn("rect", { x: x - 24, y: PLOT_TOP + PLOT_HEIGHT + PLOT_LOWER - 28, width: 48, height: 26, fill: "transparent" }), text);
  button.addEventListener("click", turn);
  button.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); turn(); }
  });
  label();
  return button;
}
export function layTicks(axis, ticks) {
  axis.ticks.replaceChildren(...spaced(ticks, PLOT_HEIGHT, 15).flatMap(([where, text]) => [
    drawn("line", { x1: axis.x - 4, x2: axis.x, y1: pixelOf(where), y2: pixelOf(where) }),
    drawn("text", { x: axis.x - 7, y: pixelOf(where) + 4, "text-anchor": "end" }, cut(text, 11)),
  ]));
}
function brushByPointer(svg, model, { group, column }) {
  const where = (event) => Math.min(1, Math.max(0, 1 - (event.clientY - svg.getBoundingClientRect().top - PLOT_TOP) / PLOT_HEIGHT));
  let start = null;
  const end = () => {
    if (start !== null) model.drag(false);
    start = null;
  };
  group.addEventListener("pointerdown", (event) => {
    start = where(event);
    group.setPointerCapture(event.pointerId);
    model.drag(true);
  });
  group.addEventListener("pointermove", (event) => start !== null && model.setBrush(column, start, where(event)));
  group.addEventListener("pointerup", (event) => {
    if (start !== null && Math.abs(where(event) - start) * PLOT_HEIGHT < 4) model.setBrush(column, null);
    end();
  });
  group.addEventListener("pointercancel", end);
  group.addEventListener("lostpointercapture", end);
}
function brushByKeys(model, { group, column }) {
  group.addEventListener("keydown", (event) => {
    const way = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (event.key === "Escape") model.setBrush(column, null);
    if (!way) return;
    event.preventDefault();
    const brush = model.brushes.get(column.name);
    if (!brush) model.setBrush(column, way > 0 ? 0.75 : 0, way > 0 ? 1 : 0.25);
    else if (event.shiftKey) model.setBrush(column, brush.from, Math.max(brush.from, Math.min(1, brush.to + way * BRUSH_STEP)));
    else {
      const step = Math.max(-brush.from, Math.min(1 - brush.to, way * BRUSH_STEP));
      model.setBrush(column, brush.from + step, brush.to + step);
    }
  });
}
// Shows the present limits on the axis, to the eye and to a screen reader.
export function drawBrush({ brush, group }, limits) {
  brush.style.display = limits ? "" : "none";
  const percent = (where) => Math.round(where * 100);
  group.setAttribute("aria-valuenow", limits ? percent(limits.from) : 0);
  group.setAttribute("aria-valuetext", limits ? textOfLimits(limits) : "no limits");
  if (!limits) return;
  brush.setAttribute("y", pixelOf(limits.to));
  brush.setAttribute("height", Math.max(2, PLOT_HEIGHT * (limits.to - limits.from)));
}
const textOfLimits = ({ low, high, values }) => (values ? `only ${values.join(", ") || "nothing"}` : `from ${low} to ${high}`);
