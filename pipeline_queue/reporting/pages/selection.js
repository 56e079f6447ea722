// The state that all parts of a page share: rows, metric, order, search, brushes, and the run that is lit.
import { cut, shown } from "./dom.js";
import { compareValues, conditionAt, extentOf, makeScale, placesOf, satisfies } from "./scales.js";

// `data` is {columns, rows, metric, sort, title} as the server gives them, and ended_at where it is known.
//
// A part is {build(), draw(), light(index)}, each optional: `build` makes its elements anew for other columns, another
// metric or another width, `draw` shows the present selection, `light` marks one run, or none for -1. A part that
// `isSlow` is drawn once a drag is over.
export function makeModel(data) {
  const model = {
    title: "", columns: [], rows: [], endedAt: null, metric: null, largest: true, logs: new Map(), brushes: new Map(),
    search: "", words: [], sort: null, descending: false, visible: [], order: [], lit: -1, isDragging: false,
  };
  addColumns(model);
  addOrder(model);
  addSignals(model);
  addChoices(model);
  addBrushes(model);
  model.load(data);
  return model;
}

function addColumns(model) {
  const extents = new Map();
  Object.assign(model, {
    named: (name) => model.columns.find((column) => column.name === name),
    ofKind: (...kinds) => model.columns.filter((column) => kinds.includes(column.kind)),
    metrics: () => [...model.ofKind("metric"), model.named("seconds")].filter(Boolean),
    valueOf: (index, name) => model.rows[index][model.named(name).at],
    forget: () => extents.clear(),
    extent(column) {
      if (!extents.has(column.at)) extents.set(column.at, extentOf(model.rows.map((row) => row[column.at])));
      return extents.get(column.at);
    },
    canLog: (column) => model.extent(column).numeric && model.extent(column).low > 0,
    isLog(column) {
      const { low, high } = model.extent(column);
      return model.canLog(column) && (model.logs.get(column.name) ?? (column.kind !== "metric" && high / low >= 50));
    },
    scaleOf: (column, log = model.isLog(column)) => makeScale(model.extent(column), log),
    describe(index) {
      const values = [...model.ofKind("metric"), ...model.ofKind("changed")];
      const texts = values.map((column) => `${column.name}=${cut(shown(model.rows[index][column.at], column), 40)}`);
      return `run ${model.valueOf(index, "index")} ${model.valueOf(index, "state")}: ${texts.join("  ")}`;
    },
  });
}

function addOrder(model) {
  let texts = null;
  const textOf = (row) => row.map((value, at) => (value === null ? "" : `${model.columns[at].name}=${value}`)).join("\n").toLowerCase();
  Object.assign(model, {
    forgetTexts: () => { texts = null; },
    matches(index) {
      if (model.words.length === 0) return true;
      texts ??= model.rows.map(textOf);
      return model.words.every((word) => texts[index].includes(word));
    },
    // Missing values come last both ways.
    ordered(indices, column, descending) {
      const value = (index) => model.rows[index][column.at];
      const present = indices.filter((index) => value(index) !== null);
      present.sort((one, other) => (descending ? -1 : 1) * compareValues(value(one), value(other)) || one - other);
      return [...present, ...indices.filter((index) => value(index) === null)];
    },
    // The best are drawn last, on top of the others.
    drawingOrder: () => model.ordered(model.visible, model.metric, model.largest).reverse(),
    bestRun() {
      const first = model.ordered([...model.rows.keys()], model.metric, model.largest)[0];
      return first === undefined || model.rows[first][model.metric.at] === null ? -1 : first;
    },
    select() {
      const brushed = [...model.brushes].map(([name, brush]) => [model.named(name).at, brush]);
      const passes = (index) => brushed.every(([at, brush]) => satisfies(model.rows[index][at], brush));
      model.visible = [...model.rows.keys()].filter((index) => model.matches(index) && passes(index));
      model.order = model.sort ? model.ordered(model.visible, model.sort, model.descending) : model.visible;
    },
    nearest(distance, most) {
      let found = -1, least = most;
      for (const index of model.visible) {
        const far = distance(index);
        if (far <= least) [found, least] = [index, far];
      }
      return found;
    },
  });
}

function addSignals(model) {
  const drawnParts = [];
  let isWaiting = false, mustBuild = false;
  function drawAll() {
    const rebuild = mustBuild, lit = model.litRun;
    [isWaiting, mustBuild, model.litRun] = [false, false, null];
    model.light(-1);
    if (rebuild) for (const part of drawnParts) part.build?.();
    model.select();
    for (const part of drawnParts) if (!part.isSlow || !model.isDragging) part.draw?.();
    model.signalBrushes();
    if (lit !== null) model.light(model.visible.find((index) => model.valueOf(index, "run") === lit) ?? -1);
  }
  Object.assign(model, {
    litRun: null,
    attach(part) {
      drawnParts.push(part);
      part.build?.();
      part.draw?.();
      return part;
    },
    // Draws every part in the next frame; `rebuild` where columns, rows or the metric are others than before.
    changed(rebuild = false) {
      mustBuild ||= rebuild;
      if (isWaiting) return;
      isWaiting = true;
      requestAnimationFrame(drawAll);
    },
    light(wanted) {
      // What is on the screen may still be of the rows before.
      const index = wanted < model.rows.length ? wanted : -1;
      if (index === model.lit) return;
      model.lit = index;
      for (const part of drawnParts) part.light?.(index);
    },
  });
}

function addChoices(model) {
  const chosen = { metric: false, direction: false, sort: false };
  function loadMetric(data, sorted, descending) {
    const before = model.metric?.name, kept = chosen.metric ? model.metrics().find((column) => column.name === before) : undefined;
    model.metric = kept ?? (model.metrics().includes(sorted) ? sorted : model.named(data.metric) ?? model.metrics()[0]);
    if (chosen.direction && model.metric.name === before) return;
    model.largest = model.metric === sorted ? descending : !model.metric.low;
  }
  function loadSort(sorted, descending) {
    const kept = chosen.sort && model.sort ? model.named(model.sort.name) : undefined;
    if (kept) model.sort = kept;
    else Object.assign(model, { sort: sorted ?? null, descending });
  }
  Object.assign(model, {
    load(data) {
      Object.assign(model, { title: data.title ?? "", rows: data.rows, endedAt: data.ended_at ?? null });
      model.columns = data.columns.map((column, at) => ({ ...column, at }));
      model.forget();
      model.forgetTexts();
      const key = data.sort?.[0] ?? "", sorted = model.named(key.replace(/^-/, ""));
      loadMetric(data, sorted, key.startsWith("-"));
      loadSort(sorted, key.startsWith("-"));
      model.refitBrushes();
      model.select();
    },
    chooseMetric(name) {
      chosen.metric = true;
      chosen.direction = false;
      model.metric = model.named(name);
      model.largest = !model.metric.low;
      model.changed(true);
    },
    chooseDirection(largest) {
      chosen.direction = true;
      model.largest = largest;
      model.changed();
    },
    // A metric that should be high begins with its highest.
    sortBy(name) {
      const column = model.named(name), first = column === model.metric && model.largest;
      model.descending = column === model.sort ? !model.descending : first;
      model.sort = column;
      chosen.sort = true;
      model.changed();
    },
    searchFor(text) {
      model.search = text;
      model.words = text.toLowerCase().split(/\s+/).filter(Boolean);
      model.changed();
    },
    clear() {
      model.brushes.clear();
      model.searchFor("");
    },
  });
}

function addBrushes(model) {
  const listeners = [];
  let waitingData = null, told = "[]";
  Object.assign(model, {
    // [{name, low, high}] of numbers, [{name, values}] of everything else.
    conditions: () => [...model.brushes].map(([name, { low, high, values }]) => (values ? { name, values } : { name, low, high })),
    // `from` and `to` are positions on the axis from 0 to 1; null lets all through.
    setBrush(column, from, to) {
      if (from === null) model.brushes.delete(column.name);
      else {
        const [low, high] = [Math.min(from, to), Math.max(from, to)];
        model.brushes.set(column.name, { from: low, to: high, ...conditionAt(model.extent(column), model.isLog(column), low, high) });
      }
      model.changed();
    },
    refitBrushes() {
      for (const [name, brush] of model.brushes) {
        const column = model.named(name), found = column && placesOf(model.extent(column), model.isLog(column), brush);
        if (found) Object.assign(brush, { from: found[0], to: found[1] });
        else model.brushes.delete(name);
      }
    },
    toggleLog(column) {
      model.logs.set(column.name, !model.isLog(column));
      model.refitBrushes();
      model.changed();
    },
    // While a brush is dragged nobody is told of it, and new rows wait.
    drag(isBegun) {
      model.isDragging = isBegun;
      if (!isBegun && waitingData) model.replace(waitingData);
      model.changed();
    },
    replace(data) {
      waitingData = model.isDragging ? data : null;
      if (model.isDragging) return;
      const lit = model.lit >= 0 ? model.valueOf(model.lit, "run") : model.litRun;
      model.light(-1);
      model.litRun = lit;
      model.load(data);
      model.changed(true);
    },
    onBrush: (listener) => listeners.push(listener),
    signalBrushes() {
      const conditions = model.conditions(), text = JSON.stringify(conditions);
      if (model.isDragging || text === told) return;
      told = text;
      for (const listener of listeners) listener(conditions);
    },
  });
}
