
"use strict";
// The page of `results --html`: state at the top, then scales, parallel coordinates, scatter, table. Values are only
// ever shown through textContent.
const data = JSON.parse(document.getElementById("data").textContent);
const columns = data.columns.map((column, at) => ({ ...column, at }));
const rows = data.rows;
const MAX_AXES = 24, ROWS_A_TIME = 100, MAX_FADED = 1500, MISSING_GAP = 22, BRUSH_STEP = 0.05;
const HEIGHT = 300, TOP = 26, LOWER = 54;
const byId = (id) => document.getElementById(id);
const named = (name) => columns.find((column) => column.name === name);
const ofKind = (...kinds) => columns.filter((column) => kinds.includes(column.kind));
const metrics = [...ofKind("metric"), named("seconds")];
const state = {
  metric: null, largest: true, logs: new Map(), brushes: new Map(), words: [], sort: null, descending: false,
  visible: [], order: [], limit: ROWS_A_TIME, lit: -1,
};
const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes = {}, text = null, svg = false) {
  const made = svg ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
}
const drawn = (name, attributes, text = null) => element(name, attributes, text, true);
const isNumber = (value) => typeof value === "number";
const cut = (text, most) => (text.length > most ? text.slice(0, Math.max(1, most - 1)) + "…" : text);

function shown(value, column) {
  if (value === null) return "–";
  if (!isNumber(value)) return String(value);
  if (column.name === "seconds") return value.toFixed(2);
  return column.kind === "metric" ? String(Number(value.toPrecision(6))) : String(value);
}

// ---- scales: a value's position from 0 to 1, and where ticks go ----
const known = new Map();
function extent(column) {
  if (!known.has(column.at)) {
    const values = rows.map((row) => row[column.at]).filter((value) => value !== null);
    const numeric = values.length > 0 && values.every(isNumber);
    const distinct = [...new Set(values)].sort((one, other) => compare(one, other));
    known.set(column.at, { numeric, distinct, missing: values.length < rows.length,
      low: distinct[0], high: distinct[distinct.length - 1] });
  }
  return known.get(column.at);
}
const canLog = (column) => extent(column).numeric && extent(column).low > 0;
function isLog(column) {
  const { low, high } = extent(column);
  return canLog(column) && (state.logs.get(column.at) ?? (column.kind !== "metric" && high / low >= 50));
}
function makeScale(column, log = isLog(column)) {
  const { numeric, distinct, low, high } = extent(column);
  if (!numeric) {
    const places = new Map(distinct.map((value, at) => [value, distinct.length > 1 ? at / (distinct.length - 1) : 0.5]));
    return { place: (value) => (value === null ? null : places.get(value)), ticks: distinct.map((value) => [places.get(value), String(value)]) };
  }
  const turn = log ? Math.log10 : (value) => value;
  // Halves, since the difference of the largest numbers is not one.
  const from = turn(low) / 2, span = turn(high) / 2 - from;
  const place = (value) => (value === null ? null : span > 0 ? (turn(value) / 2 - from) / span : 0.5);
  const ticks = distinct.length <= 7 ? distinct : log ? logTicks(low, high) : linearTicks(low, high);
  return { place, ticks: ticks.map((value) => [place(value), String(Number(value.toPrecision(6)))]) };
}
function linearTicks(low, high) {
  const rough = high / 5 - low / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const ticks = [];
  for (let at = Math.ceil(low / step); at * step <= high && ticks.length < 12; at++) ticks.push(at * step);
  return ticks;
}
function logTicks(low, high) {
  const decades = Math.log10(high) - Math.log10(low), every = Math.ceil(decades / 8), ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += every)
    for (const one of decades < 2 ? [1, 2, 5] : [1]) if (one * 10 ** power >= low && one * 10 ** power <= high) ticks.push(one * 10 ** power);
  return ticks.length > 1 ? ticks : [low, high];
}
function spaced(ticks, pixels, gap) {
  let last = -Infinity;
  return [...ticks].sort((one, other) => one[0] - other[0]).filter(([place]) => {
    const far = place * pixels - last >= gap;
    if (far) last = place * pixels;
    return far;
  });
}

// ---- order, filter, colour ----
const rank = (value) => (isNumber(value) ? 0 : typeof value === "boolean" ? 1 : 2);
function compare(one, other) {
  return rank(one) - rank(other) || (one < other ? -1 : one > other ? 1 : 0);
}
function ordered(indices, column, descending) {
  const value = (index) => rows[index][column.at];
  const present = indices.filter((index) => value(index) !== null);
  present.sort((one, other) => (descending ? -1 : 1) * compare(value(one), value(other)) || one - other);
  return [...present, ...indices.filter((index) => value(index) === null)];
}
let texts = null;
function matches(index) {
  if (state.words.length === 0) return true;
  texts ??= rows.map((row) => row.map((value, at) => (value === null ? "" : `${columns[at].name}=${value}`)).join("\n").toLowerCase());
  return state.words.every((word) => texts[index].includes(word));
}
function select() {
  const brushed = [...state.brushes].map(([at, [low, high]]) => [at, makeScale(columns[at]).place, low, high]);
  const passes = (index) => brushed.every(([at, place, low, high]) => {
    const where = place(rows[index][at]);
    return where !== null && where >= low && where <= high;
  });
  const all = rows.map((_, index) => index);
  state.visible = all.filter((index) => matches(index) && passes(index));
  state.order = state.sort ? ordered(state.visible, state.sort, state.descending) : state.visible;
}
let palette = {};
function readPalette() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["low", "mid", "high", "none", "mark", "faint"]) palette[name] = style.getPropertyValue(`--${name}`).trim();
  const parts = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  const mix = (one, other, t) => `rgb(${parts(one).map((part, at) => Math.round(part + (parts(other)[at] - part) * t)).join()})`;
  palette.ramp = Array.from({ length: 33 }, (_, at) => (at < 16 ? mix(palette.low, palette.mid, at / 16) : mix(palette.mid, palette.high, (at - 16) / 16)));
}
function colours() {
  const { place } = makeScale(state.metric);
  return (index) => {
    const where = place(rows[index][state.metric.at]);
    return where === null ? palette.none : palette.ramp[Math.round(where * 32)];
  };
}
// The best are drawn last, on top of the others.
const drawingOrder = () => ordered(state.visible, state.metric, state.largest).reverse();

function canvases(parent, width, height) {
  return [0, 1].map(() => {
    const canvas = element("canvas", { "aria-hidden": "true" }), ratio = window.devicePixelRatio || 1;
    Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    parent.append(canvas);
    return context;
  });
}
const wipe = (context) => context.clearRect(0, 0, context.canvas.width, context.canvas.height);

// ---- parallel coordinates ----
const parallel = { axes: [], lines: null, top: null, x: [], y: [] };
function buildParallel() {
  const changed = ofKind("changed"), place = byId("parallel");
  const wanted = [...changed.slice(0, MAX_AXES), state.metric];
  byId("parallel-section").hidden = changed.length === 0 || rows.length === 0;
  if (byId("parallel-section").hidden) return;
  // A brush on an axis that is not there any more could not be seen.
  for (const at of state.brushes.keys()) if (!wanted.includes(columns[at])) state.brushes.delete(at);
  const left = 78, right = 50, width = Math.max(byId("parallel-scroll").clientWidth, left + right + (wanted.length - 1) * 96);
  const gap = (width - left - right) / Math.max(1, wanted.length - 1), height = HEIGHT + TOP + LOWER;
  place.replaceChildren();
  Object.assign(place.style, { width: `${width}px`, height: `${height}px` });
  [parallel.lines, parallel.top] = canvases(place, width, height);
  const svg = drawn("svg", { width, height, role: "group", "aria-label": "Parallel coordinates: one axis for each parameter that differs, and the metric" });
  parallel.axes = wanted.map((column, number) => buildAxis(svg, column, left + number * gap, gap));
  svg.addEventListener("pointermove", (event) => event.buttons === 0 && highlight(nearestLine(event)));
  svg.addEventListener("pointerleave", () => highlight(-1));
  place.append(svg);
  layParallel();
}
function buildAxis(svg, column, x, gap) {
  const info = extent(column), chars = Math.floor(gap / 7.5);
  const group = drawn("g", { class: "axis", tabindex: "0", role: "slider", "aria-orientation": "vertical", "aria-label": `Limits of ${column.name}`, "aria-valuemin": "0", "aria-valuemax": "100" });
  const title = drawn("text", { x, y: 13, "text-anchor": "middle", class: "title" }, cut(column.name, chars));
  title.append(drawn("title", {}, column.name));
  group.append(title, drawn("rect", { class: "hit", x: x - 16, y: TOP - 8, width: 32, height: HEIGHT + 16, rx: 4 }), drawn("line", { class: "spine", x1: x, x2: x, y1: TOP, y2: TOP + HEIGHT }));
  const ticks = drawn("g", {}), brush = drawn("rect", { class: "brush", x: x - 8, width: 16, rx: 2 });
  group.append(ticks, brush);
  if (info.missing) group.append(drawn("text", { x: x - 7, y: TOP + HEIGHT + MISSING_GAP + 4, "text-anchor": "end" }, "none"));
  svg.append(group);
  const axis = { column, x, ticks, brush, group };
  bindAxis(axis);
  if (canLog(column) && info.distinct.length > 1) svg.append(scaleButton(axis));
  return axis;
}
function scaleButton({ column, x }) {
  const button = drawn("g", { class: "scale", role: "button", tabindex: "0" });
  const text = drawn("text", { x, y: TOP + HEIGHT + LOWER - 10, "text-anchor": "middle" });
  const label = () => {
    text.textContent = isLog(column) ? "log" : "linear";
    button.setAttribute("aria-label", `${column.name}: ${text.textContent} scale; press to change`);
  };
  const turn = () => {
    state.logs.set(column.at, !isLog(column));
    state.brushes.delete(column.at);
    label();
    layParallel();
    update();
  };
  button.append(drawn("rect", { x: x - 24, y: TOP + HEIGHT + LOWER - 28, width: 48, height: 26, fill: "transparent" }), text);
  button.addEventListener("click", turn);
  button.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); turn(); }
  });
  label();
  return button;
}
function layParallel() {
  for (const [number, axis] of parallel.axes.entries()) {
    const { place, ticks } = makeScale(axis.column), up = (where) => TOP + HEIGHT * (1 - where);
    parallel.x[number] = axis.x;
    const spread = bandOf(axis.column);
    parallel.y[number] = Float32Array.from(rows, (row, index) => {
      const where = place(row[axis.column.at]);
      // The golden ratio's multiples fill a band evenly, and differ from axis to axis.
      const jitter = spread * ((((index + 1) * (number + 1) * 0.6180339887) % 1) - 0.5);
      return where === null ? TOP + HEIGHT + MISSING_GAP + jitter / 3 : up(where) + jitter;
    });
    axis.ticks.replaceChildren(...spaced(ticks, HEIGHT, 15).flatMap(([where, text]) => [
      drawn("line", { x1: axis.x - 4, x2: axis.x, y1: up(where), y2: up(where) }),
      drawn("text", { x: axis.x - 7, y: up(where) + 4, "text-anchor": "end" }, cut(text, 11)),
    ]));
  }
}
// Many runs through few values are drawn as bands, or the last of them would hide all others.
function bandOf(column) {
  const { distinct } = extent(column);
  return rows.length > 50 && distinct.length <= 12 ? Math.min(18, (HEIGHT / distinct.length) * 0.5) : 0;
}
function bindAxis(axis) {
  const { group, column } = axis;
  const where = (event) => Math.min(1, Math.max(0, 1 - (event.clientY - byId("parallel").getBoundingClientRect().top - TOP) / HEIGHT));
  let start = null;
  group.addEventListener("pointerdown", (event) => { start = where(event); group.setPointerCapture(event.pointerId); });
  group.addEventListener("pointermove", (event) => start !== null && setBrush(column, start, where(event)));
  group.addEventListener("pointerup", (event) => {
    if (start !== null && Math.abs(where(event) - start) * HEIGHT < 4) setBrush(column, null);
    start = null;
  });
  group.addEventListener("pointercancel", () => { start = null; });
  group.addEventListener("keydown", (event) => {
    const way = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (event.key === "Escape") setBrush(column, null);
    if (!way) return;
    event.preventDefault();
    const brush = state.brushes.get(column.at);
    if (!brush) setBrush(column, way > 0 ? 0.75 : 0, way > 0 ? 1 : 0.25);
    else if (event.shiftKey) setBrush(column, brush[0], Math.max(brush[0], Math.min(1, brush[1] + way * BRUSH_STEP)));
    else {
      const step = Math.max(-brush[0], Math.min(1 - brush[1], way * BRUSH_STEP));
      setBrush(column, brush[0] + step, brush[1] + step);
    }
  });
}
function setBrush(column, one, other) {
  if (one === null) state.brushes.delete(column.at);
  else state.brushes.set(column.at, [Math.min(one, other), Math.max(one, other)]);
  update();
}
function trace(context, index) {
  context.beginPath();
  for (let number = 0; number < parallel.axes.length; number++) context.lineTo(parallel.x[number], parallel.y[number][index]);
  context.stroke();
}
function drawParallel() {
  if (byId("parallel-section").hidden) return;
  for (const { column, brush, group } of parallel.axes) {
    const limits = state.brushes.get(column.at);
    brush.style.display = limits ? "" : "none";
    group.setAttribute("aria-valuenow", limits ? Math.round(limits[0] * 100) : 0);
    group.setAttribute("aria-valuetext", limits ? `from ${Math.round(limits[0] * 100)} to ${Math.round(limits[1] * 100)} percent of the axis` : "no limits");
    if (!limits) continue;
    brush.setAttribute("y", TOP + HEIGHT * (1 - limits[1]));
    brush.setAttribute("height", Math.max(2, HEIGHT * (limits[1] - limits[0])));
  }
  const context = parallel.lines, colour = colours(), order = drawingOrder();
  wipe(context);
  context.lineJoin = "round";
  if (order.length < rows.length) {
    Object.assign(context, { strokeStyle: palette.faint, lineWidth: 1, globalAlpha: 0.7 });
    const kept = new Set(order), every = Math.ceil(rows.length / MAX_FADED);
    for (let index = 0; index < rows.length; index += every) if (!kept.has(index)) trace(context, index);
  }
  Object.assign(context, { lineWidth: order.length > 300 ? 1 : 1.6, globalAlpha: Math.max(0.03, Math.min(0.9, 5 / Math.sqrt(order.length + 1))) });
  for (const index of order) {
    context.strokeStyle = colour(index);
    trace(context, index);
  }
}
function nearestLine(event) {
  const box = byId("parallel").getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
  let next = parallel.x.findIndex((one) => one >= x);
  if (next < 0 || x < parallel.x[0] - 8) return -1;
  next = Math.max(1, next);
  const t = (x - parallel.x[next - 1]) / (parallel.x[next] - parallel.x[next - 1]);
  const [before, after] = [parallel.y[next - 1], parallel.y[next]];
  return nearest((index) => Math.abs(before[index] + (after[index] - before[index]) * t - y), 10);
}
function nearest(distance, most) {
  let found = -1, least = most;
  for (const index of state.visible) {
    const far = distance(index);
    if (far <= least) [found, least] = [index, far];
  }
  return found;
}

// ---- scatter ----
const scatter = { dots: null, top: null, x: null, y: null };
function buildScatter() {
  const place = byId("scatter"), across = named(byId("x").value), up = named(byId("y").value);
  byId("scatter-section").hidden = extent(up).low === undefined && metrics.length === 1;
  if (byId("scatter-section").hidden) return;
  const width = Math.max(280, place.parentElement.clientWidth - 34), height = 340, left = 66, right = 14, top = 12, bottom = 44;
  const axes = [[across, byId("x-log"), width - left - right], [up, byId("y-log"), height - top - bottom]].map(([column, box, pixels]) => {
    box.disabled = !canLog(column);
    if (box.disabled) box.checked = false;
    const scale = makeScale(column, box.checked);
    return { ...scale, ticks: spaced(scale.ticks, pixels, pixels > height ? 56 : 16) };
  });
  place.replaceChildren();
  Object.assign(place.style, { height: `${height}px` });
  const svg = drawn("svg", { width, height, role: "img", "aria-label": `${up.name} against ${across.name}; the table below has the values` });
  const px = (where) => left + where * (width - left - right), py = (where) => height - bottom - where * (height - top - bottom);
  for (const [where, text] of axes[0].ticks)
    svg.append(drawn("line", { class: "grid", x1: px(where), x2: px(where), y1: top - 6, y2: height - bottom + 6 }), drawn("text", { x: px(where), y: height - bottom + 20, "text-anchor": "middle" }, cut(text, 11)));
  for (const [where, text] of axes[1].ticks)
    svg.append(drawn("line", { class: "grid", x1: left - 6, x2: width - right + 6, y1: py(where), y2: py(where) }), drawn("text", { x: left - 10, y: py(where) + 4, "text-anchor": "end" }, cut(text, 9)));
  svg.append(drawn("text", { class: "title", x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, cut(across.name, 40)));
  place.append(svg);
  [scatter.dots, scatter.top] = canvases(place, width, height);
  const values = (column, { place: put }, pixels) => rows.map((row) => { const where = put(row[column.at]); return where === null ? NaN : pixels(where); });
  scatter.x = values(across, axes[0], px);
  scatter.y = values(up, axes[1], py);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    highlight(nearest((index) => Math.hypot(scatter.x[index] - x, scatter.y[index] - y), 14));
  });
  svg.addEventListener("pointerleave", () => highlight(-1));
}
function drawScatter() {
  if (byId("scatter-section").hidden) return;
  const context = scatter.dots, colour = colours(), order = drawingOrder();
  wipe(context);
  context.globalAlpha = Math.max(0.35, Math.min(0.9, 20 / Math.sqrt(order.length + 1)));
  let without = 0;
  for (const index of order) {
    if (Number.isNaN(scatter.x[index] + scatter.y[index])) { without++; continue; }
    context.fillStyle = colour(index);
    context.beginPath();
    context.arc(scatter.x[index], scatter.y[index], order.length > 500 ? 2.5 : 4, 0, 7);
    context.fill();
  }
  byId("scatter-note").textContent = without ? `not drawn for want of a value: ${without.toLocaleString("en")}` : "";
}

// ---- one run, lit everywhere ----
function highlight(index) {
  if (index === state.lit) return;
  state.lit = index;
  for (const row of byId("body").rows) row.classList.toggle("lit", Number(row.dataset.index) === index);
  for (const context of [parallel.top, scatter.top]) if (context) wipe(context);
  byId("readout").textContent = index < 0 ? "\u00a0" : describe(index);
  if (index < 0) return;
  if (parallel.top && !byId("parallel-section").hidden) {
    Object.assign(parallel.top, { strokeStyle: palette.mark, lineWidth: 3, lineJoin: "round" });
    trace(parallel.top, index);
  }
  if (scatter.top && !Number.isNaN(scatter.x[index] + scatter.y[index])) {
    Object.assign(scatter.top, { strokeStyle: palette.mark, lineWidth: 2.5 });
    scatter.top.beginPath();
    scatter.top.arc(scatter.x[index], scatter.y[index], 7, 0, 7);
    scatter.top.stroke();
  }
}
function describe(index) {
  const values = [...ofKind("metric"), ...ofKind("changed")].map((column) => `${column.name}=${cut(shown(rows[index][column.at], column), 40)}`);
  return `run ${rows[index][named("index").at]} ${rows[index][named("state").at]}: ${values.join("  ")}`;
}

// ---- table ----
const listed = [named("index"), named("state"), ...ofKind("changed"), ...ofKind("metric"), named("seconds")];
function buildHead() {
  byId("head").replaceChildren(...listed.map((column) => {
    const head = element("th", { scope: "col" }), button = element("button", { type: "button" }, column.name);
    if (extent(column).numeric) head.className = "number";
    if (column === state.sort) {
      head.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
      button.append(state.descending ? " ▼" : " ▲");
    }
    button.addEventListener("click", () => {
      // A metric that should be high begins with its highest.
      const first = column === state.metric && state.largest;
      state.descending = column === state.sort ? !state.descending : first;
      state.sort = column;
      state.limit = ROWS_A_TIME;
      buildHead();
      byId("head").children[listed.indexOf(column)].firstChild.focus();
      update();
    });
    head.append(button);
    return head;
  }));
}
function drawTable() {
  const best = bestRun();
  byId("body").replaceChildren(...state.order.slice(0, state.limit).map((index, number) => {
    const line = element("tr", { "data-index": index, tabindex: number === 0 ? "0" : "-1" });
    line.classList.toggle("best", index === best);
    for (const column of listed) {
      const value = rows[index][column.at], text = shown(value, column), field = element("td", {}, text);
      if (extent(column).numeric) field.classList.add("number");
      if (value === null) field.classList.add("missing");
      if (column.name === "state" && ["succeeded", "failed", "cancelled"].includes(value)) field.classList.add(value);
      if (text.length > 30) field.title = text;
      line.append(field);
    }
    return line;
  }));
  byId("more").hidden = state.order.length <= state.limit;
  byId("more").textContent = `Show more (${Math.max(0, state.order.length - state.limit).toLocaleString("en")} left)`;
}
function bindTable() {
  const body = byId("body"), index = (event) => Number(event.target.closest("tr")?.dataset.index ?? -1);
  body.addEventListener("pointerover", (event) => highlight(index(event)));
  body.addEventListener("pointerleave", () => highlight(-1));
  body.addEventListener("focusin", (event) => highlight(index(event)));
  body.addEventListener("focusout", () => highlight(-1));
  body.addEventListener("keydown", (event) => {
    const row = event.target.closest("tr"), next = { ArrowDown: row?.nextSibling, ArrowUp: row?.previousSibling }[event.key];
    if (!next) return;
    event.preventDefault();
    row.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
  byId("more").addEventListener("click", () => { state.limit *= 2; drawTable(); });
}

// ---- all together ----
function bestRun() {
  const first = ordered(rows.map((_, index) => index), state.metric, state.largest)[0];
  return first === undefined || rows[first][state.metric.at] === null ? -1 : first;
}
function summarize() {
  const counts = new Map(), best = bestRun();
  for (const row of rows) counts.set(row[named("state").at], (counts.get(row[named("state").at]) ?? 0) + 1);
  const parts = [`${rows.length.toLocaleString("en")} ${rows.length === 1 ? "run" : "runs"}`, ...[...counts].map(([name, count]) => `${count.toLocaleString("en")} ${name}`)];
  if (best >= 0) parts.push(`best ${state.metric.name} ${shown(rows[best][state.metric.at], state.metric)} in run ${rows[best][named("index").at]}`);
  byId("summary").textContent = parts.join(" · ");
  const { low, high } = extent(state.metric);
  byId("legend").hidden = low === undefined;
  byId("legend-low").textContent = `${state.metric.name} ${low === undefined ? "" : shown(low, state.metric)}`;
  byId("legend-high").textContent = high === undefined ? "" : shown(high, state.metric);
}
let waiting = false;
function update() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    select();
    highlight(-1);
    drawParallel();
    drawScatter();
    drawTable();
    byId("count").textContent = state.visible.length < rows.length ? `${state.visible.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} runs` : "";
    byId("clear").disabled = state.brushes.size === 0 && state.words.length === 0;
  });
}
function rebuild() {
  buildParallel();
  buildScatter();
  summarize();
  update();
}
function choose(id, options, chosen) {
  byId(id).replaceChildren(...options.map((column) => element("option", { value: column.name }, cut(column.name, 40))));
  byId(id).value = chosen.name;
}
function begin() {
  const key = data.sort[0] ?? "", sorted = named(key.replace(/^-/, ""));
  state.metric = metrics.includes(sorted) ? sorted : named(data.metric) ?? metrics[0];
  state.largest = state.metric === sorted ? key.startsWith("-") : !state.metric.low;
  if (listed.includes(sorted)) Object.assign(state, { sort: sorted, descending: key.startsWith("-") });
  choose("metric", metrics, state.metric);
  const across = [...ofKind("changed"), named("index"), ...metrics];
  choose("x", across, across[0]);
  choose("y", metrics, state.metric);
  byId("x-log").checked = isLog(across[0]);
  byId("direction").value = state.largest ? "high" : "low";
  byId("controls").hidden = rows.length === 0;
  const same = ofKind("constant").map((column) => `${column.name}=${cut(shown(rows[0]?.[column.at] ?? null, column), 60)}`);
  byId("constant").textContent = same.length ? `The same in all runs: ${same.join("  ")}` : "";
}
function bind() {
  for (const form of document.forms) form.addEventListener("submit", (event) => event.preventDefault());
  byId("filter").addEventListener("input", (event) => {
    state.words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    state.limit = ROWS_A_TIME;
    update();
  });
  byId("clear").addEventListener("click", () => {
    byId("filter").value = "";
    Object.assign(state, { words: [], brushes: new Map() });
    update();
    byId("filter").focus();
  });
  byId("metric").addEventListener("change", (event) => {
    state.metric = named(event.target.value);
    state.largest = !state.metric.low;
    byId("direction").value = state.largest ? "high" : "low";
    byId("y").value = state.metric.name;
    rebuild();
  });
  byId("direction").addEventListener("change", (event) => { state.largest = event.target.value === "high"; summarize(); update(); });
  byId("x").addEventListener("change", () => { byId("x-log").checked = isLog(named(byId("x").value)); buildScatter(); update(); });
  for (const id of ["y", "x-log", "y-log"]) byId(id).addEventListener("change", () => { buildScatter(); update(); });
  let width = window.innerWidth;
  window.addEventListener("resize", () => { if (window.innerWidth !== width) { width = window.innerWidth; rebuild(); } });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readPalette(); update(); });
  bindTable();
}
readPalette();
begin();
buildHead();
bind();
rebuild();
