// The heat map of two columns with few values: a table whose cells show the metric's mean in colour and in digits.
import { counted, element, shown } from "./dom.js";
import { groundAndInk, readPalette } from "./palette.js";

const MAX_VALUES = 20;

export function fitsHeatMap(model, across, up) {
  return across !== up && [across, up].every((column) => {
    const { distinct } = model.extent(column);
    return column !== model.metric && distinct.length > 0 && distinct.length <= MAX_VALUES;
  });
}
// The cells that have runs, by "x y" as positions among the distinct values: {indices, mean, failed}.
export function heatCells(model, across, up) {
  const [xs, ys] = [across, up].map((column) => new Map(model.extent(column).distinct.map((value, at) => [value, at])));
  const cells = new Map();
  for (const index of model.visible) {
    const row = model.rows[index], x = xs.get(row[across.at]), y = ys.get(row[up.at]);
    if (x === undefined || y === undefined) continue;
    const key = `${x} ${y}`, cell = cells.get(key) ?? { indices: [], values: [], failed: 0 };
    cell.indices.push(index);
    if (row[model.metric.at] !== null) cell.values.push(row[model.metric.at]);
    if (model.valueOf(index, "state") === "failed") cell.failed++;
    cells.set(key, cell);
  }
  for (const cell of cells.values()) cell.mean = meanOf(cell.values);
  return cells;
}
// Divided first, since the sum of the largest numbers is not one.
const meanOf = (values) => (values.length ? values.reduce((sum, value) => sum + value / values.length, 0) : null);

export function heatTable(model, across, up) {
  const table = element("table", { class: "heat" }), cells = heatCells(model, across, up), palette = readPalette();
  const xs = model.extent(across).distinct, ys = model.extent(up).distinct, { place } = model.scaleOf(model.metric);
  table.append(element("caption", {}, `Mean ${model.metric.name} for each ${up.name} and ${across.name}. Hatched: the runs there have no value.`));
  const head = element("tr");
  head.append(element("th", { scope: "col" }, `${up.name} \\ ${across.name}`), ...xs.map((value) => element("th", { scope: "col" }, shown(value, across))));
  table.append(head);
  for (let y = ys.length - 1; y >= 0; y--) {
    const line = element("tr");
    line.append(element("th", { scope: "row" }, shown(ys[y], up)));
    for (let x = 0; x < xs.length; x++) line.append(heatCell(model, cells.get(`${x} ${y}`), palette, place));
    table.append(line);
  }
  return table;
}
function heatCell(model, cell, palette, place) {
  if (!cell) return element("td", { class: "empty", title: "no run" });
  const made = element("td");
  made.addEventListener("pointerenter", () => model.light(cell.indices[0]));
  made.addEventListener("pointerleave", () => model.light(-1));
  made.title = [counted(cell.indices.length, "run"), ...(cell.failed ? [`${cell.failed} failed`] : [])].join(", ");
  if (cell.mean === null) {
    made.classList.add("hatched");
    made.append(element("span", {}, cell.failed ? "✕ failed" : "no value"));
    return made;
  }
  made.textContent = String(Number(cell.mean.toPrecision(4)));
  [made.style.background, made.style.color] = groundAndInk(palette, place(cell.mean));
  return made;
}
