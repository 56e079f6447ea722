// The metric in the order in which runs ended, with the line of the best so far.
import { counted, element, grouped, onWidth, shown } from "./dom.js";
import { buildFrame, drawDots, ringDot } from "./frame.js";
import { colourOf, followTheme, readPalette } from "./palette.js";
import { extentOf, makeScale } from "./scales.js";

// The visible runs in the order of `endedAt` (seconds for each row), else of their index: {steps, improved}, where a
// step is {index, value, best} with the best value so far, and `improved` the steps that made it better.
export function historyOf(model, endedAt) {
  const key = endedAt ? (index) => endedAt[index] ?? Infinity : (index) => model.valueOf(index, "index");
  const order = [...model.visible].sort((one, other) => (key(one) < key(other) ? -1 : key(one) > key(other) ? 1 : one - other));
  const steps = [], improved = [];
  let best = null;
  for (const index of order) {
    const value = model.rows[index][model.metric.at];
    const isBetter = value !== null && (best === null || (model.largest ? value > best : value < best));
    if (isBetter) best = value;
    const step = { index, number: steps.length + 1, value, best };
    steps.push(step);
    if (isBetter) improved.push(step);
  }
  return { steps, improved };
}

// `endedAt` is a list with the seconds of each row, used where the model's data has no `ended_at`.
export function historyPlot(host, model, endedAt = null) {
  const root = element("div", { class: "plots history" }), fit = element("div"), place = element("div", { class: "plot" });
  const summary = element("p", { class: "hint summary" });
  fit.append(place);
  root.append(summary, fit);
  host.append(root);
  let frame = null;
  followTheme(model);
  onWidth(host, draw);
  const times = () => [model.endedAt, endedAt].find((one) => one?.length === model.rows.length) ?? null;

  function draw() {
    host.hidden = model.extent(model.metric).low === undefined;
    if (host.hidden) return;
    const { steps, improved } = historyOf(model, times()), order = times() ? "order in which they ended" : "order of their index";
    summary.textContent = summaryOf(steps, improved, order);
    const numbers = makeScale(extentOf(steps.map((step) => step.number)), false), scale = model.scaleOf(model.metric);
    const ticks = numbers.ticks.filter(([, text]) => Number.isInteger(Number(text)));
    frame = buildFrame(place, model, { across: ticks, up: scale.ticks, title: `runs in the ${order}`, label: summary.textContent });
    [frame.x, frame.y] = [model.rows.map(() => NaN), model.rows.map(() => NaN)];
    for (const { index, number, value } of steps) {
      frame.x[index] = frame.px(numbers.place(number));
      if (value !== null) frame.y[index] = frame.py(scale.place(value));
    }
    const palette = readPalette();
    drawDots(frame, steps.map((step) => step.index), colourOf(model, palette));
    drawBest(improved, steps, palette);
  }
  function summaryOf(steps, improved, order) {
    const last = improved[improved.length - 1];
    if (!last) return "None of these runs has a value.";
    const best = `${model.metric.name} ${shown(last.value, model.metric)} in run ${model.valueOf(last.index, "index")}`;
    return `${counted(steps.length, "run")} in the ${order}; the line is the best so far. It improved ${counted(improved.length - 1, "time")}; the best is ${best}, number ${grouped(last.number)} of ${grouped(steps.length)}.`;
  }
  function drawBest(improved, steps, palette) {
    if (improved.length === 0) return;
    const context = frame.dots;
    Object.assign(context, { strokeStyle: palette.accent, lineWidth: 2, globalAlpha: 1, lineJoin: "round" });
    context.beginPath();
    for (const [at, { index }] of improved.entries()) {
      if (at > 0) context.lineTo(frame.x[index], frame.y[improved[at - 1].index]);
      context.lineTo(frame.x[index], frame.y[index]);
    }
    context.lineTo(frame.x[steps[steps.length - 1].index], frame.y[improved[improved.length - 1].index]);
    context.stroke();
  }
  return model.attach({ draw, light: (index) => frame && !host.hidden && ringDot(frame, index) });
}
