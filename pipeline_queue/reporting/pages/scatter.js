// One column against another: as dots, or as a heat map where both have few values.
import { element, grouped, labelled, offer, onWidth, quietForm } from "./dom.js";
import { buildFrame, drawDots, ringDot } from "./frame.js";
import { fitsHeatMap, heatTable } from "./heatmap.js";
import { colourOf, followTheme, readPalette } from "./palette.js";

export function scatterPlot(host, model) {
  const root = element("div", { class: "plots scatter" }), form = quietForm(), place = element("div", { class: "plot" });
  const across = element("select", { class: "across" }), up = element("select", { class: "up" });
  const [acrossLog, upLog, heat] = ["across-log", "up-log", "heat"].map((name) => element("input", { type: "checkbox", class: name }));
  const note = element("span", { class: "note" }), cells = element("div", { class: "scroll" });
  form.append(labelled("Across", across), labelled("log scale", acrossLog, true), labelled("Up", up), labelled("log scale", upLog, true), labelled("heat map", heat, true), note);
  root.append(form, place, cells);
  host.append(root);
  const chosen = { across: null, up: null };
  let frame = null;
  followTheme(model);
  onWidth(host, () => { build(); draw(); });
  across.addEventListener("change", () => { chosen.across = across.value; acrossLog.checked = model.isLog(model.named(across.value)); again(); });
  up.addEventListener("change", () => {
    chosen.up = up.value;
    const column = model.named(up.value);
    upLog.checked = column.kind === "changed" && model.isLog(column);
    // Dots on two parameters would only hide each other.
    heat.checked = column.kind === "changed" && isHeatPossible();
    again();
  });
  for (const box of [acrossLog, upLog, heat]) box.addEventListener("change", again);

  function again() { build(); draw(); }
  const isHeatPossible = () => fitsHeatMap(model, model.named(across.value), model.named(up.value));
  // Keeps what was chosen while it exists; a metric gives way to another metric that the page has changed to.
  function offerColumns() {
    const changed = model.ofKind("changed"), metrics = model.metrics();
    const sideways = [...changed, model.named("index"), ...metrics], upwards = [...metrics, ...changed];
    const first = sideways.find((column) => column.name === chosen.across) ?? sideways[0];
    if (across.value !== first.name) acrossLog.checked = model.isLog(first);
    offer(across, sideways, first);
    if (chosen.metric !== model.metric.name && model.named(chosen.up)?.kind !== "changed") chosen.up = model.metric.name;
    chosen.metric = model.metric.name;
    offer(up, upwards, upwards.find((column) => column.name === chosen.up) ?? model.metric);
  }
  function build() {
    offerColumns();
    const [sideways, upwards] = [model.named(across.value), model.named(up.value)];
    host.hidden = model.rows.length === 0 || (model.extent(upwards).low === undefined && model.metrics().length === 1);
    if (host.hidden) return;
    for (const [box, column] of [[acrossLog, sideways], [upLog, upwards]]) {
      box.disabled = !model.canLog(column);
      if (box.disabled) box.checked = false;
    }
    heat.disabled = !isHeatPossible();
    if (heat.disabled) heat.checked = false;
    [place.hidden, cells.hidden] = [heat.checked, !heat.checked];
    frame = heat.checked ? null : frameOf(sideways, upwards);
  }
  function frameOf(sideways, upwards) {
    const [one, other] = [model.scaleOf(sideways, acrossLog.checked), model.scaleOf(upwards, upLog.checked)];
    const label = `${upwards.name} against ${sideways.name}; the table below has the values`;
    const made = buildFrame(place, model, { across: one.ticks, up: other.ticks, title: sideways.name, label });
    const pixels = (column, scale, pixel) => model.rows.map((row) => { const where = scale.place(row[column.at]); return where === null ? NaN : pixel(where); });
    return Object.assign(made, { x: pixels(sideways, one, made.px), y: pixels(upwards, other, made.py) });
  }
  function draw() {
    if (host.hidden) return;
    if (!frame) {
      cells.replaceChildren(heatTable(model, model.named(across.value), model.named(up.value)));
      note.textContent = "";
      return;
    }
    const without = drawDots(frame, model.drawingOrder(), colourOf(model, readPalette()));
    note.textContent = without ? `not drawn for want of a value: ${grouped(without)}` : "";
  }
  return model.attach({ build, draw, light: (index) => frame && !host.hidden && ringDot(frame, index) });
}
