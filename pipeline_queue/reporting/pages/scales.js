// Scales: the position of a value from 0 to 1, where ticks go, and which values lie between two positions.
import { isNumber } from "./dom.js";

const rank = (value) => (isNumber(value) ? 0 : typeof value === "boolean" ? 1 : 2);

// Numbers come before texts.
export function compareValues(one, other) {
  return rank(one) - rank(other) || (one < other ? -1 : one > other ? 1 : 0);
}
// The distinct values of a list in their order, and whether all are numbers.
export function extentOf(list) {
  const values = list.filter((value) => value !== null);
  const distinct = [...new Set(values)].sort(compareValues);
  return {
    numeric: values.length > 0 && values.every(isNumber), distinct, missing: values.length < list.length,
    low: distinct[0], high: distinct[distinct.length - 1],
  };
}
export function makeScale({ numeric, distinct, low, high }, log) {
  if (!numeric) {
    const places = new Map(distinct.map((value, at) => [value, distinct.length > 1 ? at / (distinct.length - 1) : 0.5]));
    return { place: (value) => places.get(value) ?? null, ticks: distinct.map((value) => [places.get(value), String(value)]) };
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
// The ticks that have room, from the lowest.
export function spaced(ticks, pixels, gap) {
  let last = -Infinity;
  return [...ticks].sort((one, other) => one[0] - other[0]).filter(([place]) => {
    const far = place * pixels - last >= gap;
    if (far) last = place * pixels;
    return far;
  });
}

// ---- brushes: positions to values, so that a condition can be read and outlives new rows ----
function valueAt({ low, high }, log, where) {
  if (where <= 0) return low;
  if (where >= 1) return high;
  // Rounded to what a pixel shows: a condition that is read should be short.
  const found = log ? Number((10 ** (Math.log10(low) + (Math.log10(high) - Math.log10(low)) * where)).toPrecision(4)) : linearAt(low, high, where);
  return Math.min(high, Math.max(low, found));
}
function linearAt(low, high, where) {
  const exact = 2 * (low / 2 + (high / 2 - low / 2) * where), step = 10 ** Math.floor(Math.log10(high / 1000 - low / 1000));
  const steps = Math.round(exact / step);
  return Number.isSafeInteger(steps) && step > 0 ? Number((steps * step).toPrecision(12)) : exact;
}
// What lies between two positions: {low, high} of numbers, else {values}.
export function conditionAt(extent, log, from, to) {
  if (extent.numeric) return { low: valueAt(extent, log, from), high: valueAt(extent, log, to) };
  const { place } = makeScale(extent, log);
  return { values: extent.distinct.filter((value) => place(value) >= from && place(value) <= to) };
}
// The positions of a condition, which may have been made for other rows: [from, to], or null when it fits no more.
export function placesOf(extent, log, condition) {
  if (extent.numeric !== (condition.values === undefined)) return null;
  const { place } = makeScale(extent, log), inside = (where) => Math.min(1, Math.max(0, where));
  if (extent.numeric) {
    const positive = (value) => (log ? Math.max(value, extent.low) : value);
    return [inside(place(positive(condition.low))), inside(place(positive(condition.high)))];
  }
  const places = condition.values.map(place).filter((where) => where !== null);
  return places.length ? [Math.min(...places), Math.max(...places)] : [0, 0];
}
export function satisfies(value, { low, high, values }) {
  if (value === null) return false;
  return values ? values.includes(value) : value >= low && value <= high;
}
