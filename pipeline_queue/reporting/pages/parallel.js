// Parallel coordinates: one axis for each parameter that differs and one for the metric, one line for each run.
import { buildAxis, drawBrush, layTicks, MISSING_GAP, pixelOf, PLOT_HEIGHT, PLOT_LOWER, PLOT_TOP } from "./axis.js";
import { canvases, drawn, element, keepFocus, onWidth, shown, wipe } from "./dom.js";
import { colourOf, followTheme, readPalette } from "./palette.js";

const MAX_AXES = 24;
const MAX_FADED = 1500;
const HINT = "One line is one run. Drag along an axis to keep only the runs that pass there; a tap on the axis lets all through again. ";
const KEYS = "With the keyboard: Tab to an axis, arrow keys move the limits, Shift and arrow keys widen or narrow them, Escape clears.";

export function parallelPlot(host, model) {
  const root = element("div", { class: "plots parallel" }), hint = element("p", { class: "hint" }, HINT);
  const legend = element("div", { class: "legend" }), low = element("span"), high = element("span");
  const scroll = element("div", { class: "scroll" }), place = element("div", { class: "plot" });
  const readout = element("p", { class: "readout" }, "\u00a0");
  hint.append(element("span", { class: "keys" }, KEYS));
  legend.append(low, element("span", { class: "ramp" }), high);
  scroll.append(place);
  root.append(hint, legend, scroll, readout);
  host.append(root);
  const plot = { axes: [], lines: null, top: null, x: [], y: [] };
  followTheme(model);
  onWidth(host, () => { build(); draw(); });

  function build() {
    const changed = model.ofKind("changed"), wanted = [...changed.slice(0, MAX_AXES), model.metric];
    // A brush on an axis that is not there any more could not be seen.
    for (const name of model.brushes.keys()) if (!wanted.includes(model.named(name))) model.brushes.delete(name);
    host.hidden = changed.length === 0 || model.rows.length === 0;
    if (!host.hidden) keepFocus(place, () => buildAxes(wanted));
  }
  function buildAxes(wanted) {
    const left = 78, right = 50, width = Math.max(scroll.clientWidth, left + right + (wanted.length - 1) * 96);
    const gap = (width - left - right) / Math.max(1, wanted.length - 1), height = PLOT_HEIGHT + PLOT_TOP + PLOT_LOWER;
    place.replaceChildren();
    Object.assign(place.style, { width: `${width}px`, height: `${height}px` });
    [plot.lines, plot.top] = canvases(place, width, height);
    const svg = drawn("svg", { width, height, role: "group", "aria-label": "Parallel coordinates: one axis for each parameter that differs, and the metric" });
    plot.axes = wanted.map((column, number) => buildAxis(svg, model, column, left + number * gap, gap, layLines));
    svg.addEventListener("pointermove", (event) => event.buttons === 0 && model.light(nearestLine(event)));
    svg.addEventListener("pointerleave", () => model.light(-1));
    place.append(svg);
    layLines();
  }
  function layLines() {
    plot.x = plot.axes.map((axis) => axis.x);
    plot.y = plot.axes.map((axis, number) => {
      const { place: placeOf, ticks } = model.scaleOf(axis.column), spread = bandOf(model, axis.column);
      layTicks(axis, ticks);
      return Float32Array.from(model.rows, (row, index) => {
        const where = placeOf(row[axis.column.at]);
        // The golden ratio's multiples fill a band evenly, and differ from axis to axis.
        const jitter = spread * ((((index + 1) * (number + 1) * 0.6180339887) % 1) - 0.5);
        return where === null ? PLOT_TOP + PLOT_HEIGHT + MISSING_GAP + jitter / 3 : pixelOf(where) + jitter;
      });
    });
  }
  function trace(context, index) {
    context.beginPath();
    for (let number = 0; number < plot.axes.length; number++) context.lineTo(plot.x[number], plot.y[number][index]);
    context.stroke();
  }
  function draw() {
    if (host.hidden) return;
    drawLegend();
    for (const axis of plot.axes) drawBrush(axis, model.brushes.get(axis.column.name));
    const context = plot.lines, palette = readPalette(), colour = colourOf(model, palette), order = model.drawingOrder();
    wipe(context);
    context.lineJoin = "round";
    if (order.length < model.rows.length) {
      Object.assign(context, { strokeStyle: palette.faint, lineWidth: 1, globalAlpha: 0.7 });
      const kept = new Set(order), every = Math.ceil(model.rows.length / MAX_FADED);
      for (let index = 0; index < model.rows.length; index += every) if (!kept.has(index)) trace(context, index);
    }
    Object.assign(context, { lineWidth: order.length > 300 ? 1 : 1.6, globalAlpha: Math.max(0.03, Math.min(0.9, 5 / Math.sqrt(order.length + 1))) });
    for (const index of order) {
      context.strokeStyle = colour(index);
      trace(context, index);
    }
  }
  function drawLegend() {
    const extent = model.extent(model.metric), isEmpty = extent.low === undefined;
    legend.hidden = isEmpty;
    low.textContent = `${model.metric.name} ${isEmpty ? "" : shown(extent.low, model.metric)}`;
    high.textContent = isEmpty ? "" : shown(extent.high, model.metric);
  }
  function light(index) {
    readout.textContent = index < 0 ? "\u00a0" : model.describe(index);
    if (plot.top) wipe(plot.top);
    if (index < 0 || host.hidden || !plot.top) return;
    Object.assign(plot.top, { strokeStyle: readPalette().mark, lineWidth: 3, lineJoin: "round" });
    trace(plot.top, index);
  }
  function nearestLine(event) {
    const box = place.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    let next = plot.x.findIndex((one) => one >= x);
    if (next < 0 || x < plot.x[0] - 8) return -1;
    next = Math.max(1, next);
    const t = (x - plot.x[next - 1]) / (plot.x[next] - plot.x[next - 1]);
    const [before, after] = [plot.y[next - 1], plot.y[next]];
    return model.nearest((index) => Math.abs(before[index] + (after[index] - before[index]) * t - y), 10);
  }
  return model.attach({ build, draw, light });
}
// Many runs through few values are drawn as bands, or the last of them would hide all others.
function bandOf(model, column) {
  const { distinct } = model.extent(column);
  return model.rows.length > 50 && distinct.length <= 12 ? Math.min(18, (PLOT_HEIGHT / distinct.length) * 0.5) : 0;
}
