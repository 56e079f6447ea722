// How much of the metric's variance each parameter explains alone.
import { counted, element, grouped, isNumber } from "./dom.js";

const MIN_RUNS = 20;
const MAX_BINS = 8;
const MIN_RHO = 0.2;

// {name, metric, runs, state: "enough" | "few" | "constant", shares} for the visible runs that have the metric. A share
// is {name, share, chance, rho, groups, runs}: `share` is eta squared, the variance between groups by that of all (null
// where a parameter has only one value, or a value of its own for most runs); `chance` is what groups without any
// effect would reach on average, (groups - 1) / (runs - 1); `rho` is Spearman's, null unless the values are numbers.
export function importanceOf(model) {
  const metric = model.metric, rows = model.visible.map((index) => model.rows[index]).filter((row) => isNumber(row[metric.at]));
  const isConstant = rows.every((row) => row[metric.at] === rows[0][metric.at]);
  const state = rows.length < MIN_RUNS ? "few" : isConstant ? "constant" : "enough";
  const shares = state === "enough" ? model.ofKind("changed").map((column) => shareOf(rows, column, metric)) : [];
  shares.sort((one, other) => (other.share ?? -1) - (one.share ?? -1));
  return { metric: metric.name, runs: rows.length, state, shares };
}
function shareOf(rows, column, metric) {
  const pairs = rows.filter((row) => row[column.at] !== null).map((row) => [row[column.at], row[metric.at]]);
  const isNumeric = pairs.length > 0 && pairs.every(([value]) => isNumber(value));
  const groups = isNumeric ? quantileGroups(pairs) : groupsOf(pairs);
  const isUsable = pairs.length >= MIN_RUNS && groups.length > 1 && groups.length <= pairs.length / 2;
  return {
    name: column.name, groups: groups.length, runs: pairs.length, chance: (groups.length - 1) / (pairs.length - 1),
    share: isUsable ? etaSquared(groups) : null, rho: isUsable && isNumeric ? spearman(pairs) : null,
  };
}
function groupsOf(pairs) {
  const groups = new Map();
  for (const [value, result] of pairs) {
    if (!groups.has(value)) groups.set(value, []);
    groups.get(value).push(result);
  }
  return [...groups.values()];
}
// At most eight groups of nearly the same size; equal values stay together.
function quantileGroups(pairs) {
  const byValue = new Map([...pairs].sort((one, other) => one[0] - other[0]).map(([value]) => [value, []]));
  for (const [value, result] of pairs) byValue.get(value).push(result);
  if (byValue.size <= MAX_BINS) return [...byValue.values()];
  const groups = new Map();
  let before = 0;
  for (const results of byValue.values()) {
    // Where the middle of the equal values lies among all.
    const bin = Math.floor(((before + results.length / 2) / pairs.length) * MAX_BINS);
    if (!groups.has(bin)) groups.set(bin, []);
    for (const result of results) groups.get(bin).push(result);
    before += results.length;
  }
  return [...groups.values()];
}
const average = (values) => values.reduce((sum, value) => sum + value / values.length, 0);
const deviation = (values, middle) => values.reduce((sum, value) => sum + (value - middle) ** 2, 0);

function etaSquared(groups) {
  const largest = groups.flat().reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  // Scaled, since the square of the largest numbers is not one.
  const scaled = groups.map((group) => group.map((value) => value / largest)), middle = average(scaled.flat());
  const total = deviation(scaled.flat(), middle);
  if (!(total > 0)) return null;
  return Math.min(1, scaled.reduce((sum, group) => sum + group.length * (average(group) - middle) ** 2, 0) / total);
}
// The rank correlation; equal values share the mean of their ranks.
export function spearman(pairs) {
  const [one, other] = [0, 1].map((at) => ranksOf(pairs.map((pair) => pair[at])));
  const middle = (pairs.length + 1) / 2, both = one.reduce((sum, value, at) => sum + (value - middle) * (other[at] - middle), 0);
  const spread = Math.sqrt(deviation(one, middle) * deviation(other, middle));
  return spread > 0 ? both / spread : null;
}
function ranksOf(values) {
  const order = [...values.keys()].sort((one, other) => values[one] - values[other]), ranks = [];
  for (let from = 0; from < order.length; ) {
    let to = from;
    while (to < order.length && values[order[to]] === values[order[from]]) to++;
    for (let at = from; at < to; at++) ranks[order[at]] = (from + 1 + to) / 2;
    from = to;
  }
  return ranks;
}

export function importancePlot(host, model) {
  const root = element("div", { class: "plots importance" }), sentence = element("p", { class: "hint sentence" }), scroll = element("div", { class: "scroll" });
  root.append(sentence, scroll);
  host.append(root);
  return model.attach({
    isSlow: true,
    draw() {
      const found = importanceOf(model);
      host.hidden = model.ofKind("changed").length === 0 || model.rows.length === 0;
      sentence.textContent = sentenceOf(found);
      scroll.replaceChildren(...(found.shares.length ? [tableOfShares(found)] : []));
    },
  });
}
function sentenceOf({ metric, runs, state }) {
  if (state === "few") return `Too few runs: ${grouped(runs)} with a value of ${metric}, of the ${MIN_RUNS} that this takes.`;
  if (state === "constant") return `${metric} is the same in all ${grouped(runs)} runs.`;
  return `How much of the variance of ${metric} each parameter explains alone, not together with others, in ${counted(runs, "run")}. The mark in a bar is what chance alone would give.`;
}
function tableOfShares({ metric, shares }) {
  const table = element("table", { class: "shares" }), head = element("tr");
  head.append(...["parameter", "share", "explained alone", "direction"].map((text) => element("th", { scope: "col" }, text)));
  table.append(head, ...shares.map((share) => shareRow(share, metric)));
  return table;
}
function shareRow({ name, share, chance, rho }, metric) {
  const row = element("tr"), field = element("td", { class: "track" });
  if (share !== null) {
    const bar = element("div", { class: "bar" }), fill = element("span", { class: "fill" }), mark = element("span", { class: "chance", title: `by chance ${percent(chance)}` });
    fill.style.width = `${share * 100}%`;
    mark.style.left = `${chance * 100}%`;
    bar.append(fill, mark);
    field.append(bar);
  }
  row.append(element("th", { scope: "row" }, name), element("td", { class: "number" }, share === null ? "–" : percent(share)), field);
  row.append(element("td", {}, share === null ? "too many values, or too few runs" : directionOf(rho, metric)));
  return row;
}
const percent = (share) => `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;
function directionOf(rho, metric) {
  if (rho === null) return "";
  if (Math.abs(rho) < MIN_RHO) return "no clear direction";
  return rho > 0 ? `▲ ${metric} tends to rise with it` : `▼ ${metric} tends to fall with it`;
}
