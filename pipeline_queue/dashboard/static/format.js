// Turns values into what people read: times, sizes, states as icon and word, progress bars. No request, no state.
import { counted, element } from "../shared/dom.js";

export { counted, element };
const MINUTE = 60, HOUR = 3600, DAY = 86400;
const STATES = {
  queued: ["○", "queued"], waiting: ["◔", "waiting"], running: ["▶", "running"], retrying: ["↻", "retrying"], pausing: ["❚❚", "pausing"],
  paused: ["❚❚", "paused"], succeeded: ["✓", "succeeded"], failed: ["✗", "failed"], cancelled: ["⊘", "cancelled"], stopped: ["■", "stopped"],
  skipped: ["–", "skipped"], lost: ["?", "lost"], ok: ["✓", "ok"], warn: ["!", "warning"], fail: ["✗", "problem"], ended: ["✓", "ended"],
};
const SEGMENTS = ["succeeded", "failed", "running", "queued", "cancelled"];

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 0.995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < MINUTE) return `${Math.round(seconds)} s`;
  if (seconds < HOUR) return `${Math.floor(seconds / MINUTE)} min ${Math.round(seconds % MINUTE)} s`;
  if (seconds < DAY) return `${Math.floor(seconds / HOUR)} h ${Math.round((seconds % HOUR) / MINUTE)} min`;
  return `${Math.floor(seconds / DAY)} d ${Math.round((seconds % DAY) / HOUR)} h`;
}

export function ago(time, now = Date.now() / 1000) {
  const seconds = Math.max(0, now - time);
  if (seconds < MINUTE) return "just now";
  if (seconds < HOUR) return `${Math.floor(seconds / MINUTE)} min ago`;
  if (seconds < DAY) return `${Math.floor(seconds / HOUR)} h ago`;
  return `${Math.floor(seconds / DAY)} d ago`;
}

/** A <time> in this browser's zone, with UTC in its title. */
export function when(time, text = null) {
  if (time === null || time === undefined) return element("span", {}, "–");
  const date = new Date(time * 1000);
  return element("time", { datetime: date.toISOString(), title: date.toISOString().replace("T", " ").slice(0, 19) + " UTC" },
    text ?? date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" }));
}

export function bytes(count) {
  if (count === null || count === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = count, unit = 0;
  while (value >= 999.5 && unit < units.length - 1) { value /= 1000; unit += 1; }
  return `${unit ? Number(value.toPrecision(3)) : value} ${units[unit]}`;
}

export function number(value, digits = 6) {
  if (value === null || value === undefined) return "–";
  return typeof value === "number" ? String(Number(value.toPrecision(digits))) : String(value);
}

export function stateMark(state) {
  const [icon, word] = STATES[state] ?? ["·", state];
  const mark = element("span", { class: `pq-state pq-is-${STATES[state] ? state : "other"}` });
  mark.append(element("span", { "aria-hidden": "true", class: "pq-icon" }, icon), document.createTextNode(word));
  return mark;
}

/** A stacked bar of runs by state, with the numbers as its text for those who cannot see it. */
export function bar(counts, total) {
  const told = SEGMENTS.filter((name) => counts[name]).map((name) => `${counts[name].toLocaleString()} ${name}`).join(", ");
  const done = counts.succeeded + counts.failed + counts.cancelled;
  const made = element("div", { class: "pq-bar", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": total, "aria-valuenow": done,
    "aria-valuetext": told || "nothing yet", "aria-label": "runs", title: told });
  for (const name of SEGMENTS) {
    if (!counts[name]) continue;
    const part = element("span", { class: `pq-segment pq-${name}` });
    part.style.width = `${(100 * counts[name]) / Math.max(1, total)}%`;
    made.append(part);
  }
  return made;
}

export function left(sweep) {
  if (sweep.ended_at) return "";
  if (sweep.seconds_left_range) {
    const [low, high] = sweep.seconds_left_range;
    return high - low < 0.15 * high ? duration(high) : `${duration(low)} to ${duration(high)}`;
  }
  return sweep.seconds_left === null ? "" : duration(sweep.seconds_left);
}
