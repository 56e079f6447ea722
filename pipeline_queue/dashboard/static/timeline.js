// A run's attempts as bars over time: a lane per step, with a text for those who cannot see it.
import { drawn } from "../shared/dom.js";
import { duration, element } from "./format.js";

const LANE = 26, LABEL = 130, WIDTH = 900;

export function timeline(run) {
  const now = Date.now() / 1000;
  const bars = run.steps.flatMap((step, lane) => {
    const tries = step.tries.filter((one) => one.started_at).map((one) => ({ lane, step, from: one.started_at, to: one.ended_at || now, state: one.state, attempt: one.attempt }));
    const isCovered = tries.some((one) => one.state === "running");
    return step.state === "running" && step.started_at && !isCovered ? [...tries, { lane, step, from: step.started_at, to: now, state: "running", attempt: step.attempts }] : tries;
  });
  if (bars.length === 0) return element("p", {}, "No step has started.");
  const from = Math.min(...bars.map((one) => one.from)), to = Math.max(...bars.map((one) => one.to), from + 0.001);
  const height = run.steps.length * LANE + 20, place = (time) => LABEL + ((time - from) / (to - from)) * (WIDTH - LABEL - 10);
  const told = bars.map((one) => `${one.step.name}, attempt ${one.attempt}: ${one.state}, ${duration(one.to - one.from)}`).join("; ");
  const svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${height}`, class: "pq-timeline", role: "img", "aria-label": `Timeline. ${told}` });
  run.steps.forEach((step, lane) => svg.append(drawn("text", { x: 0, y: lane * LANE + 17, class: "pq-lane" }, step.name.length > 18 ? `${step.name.slice(0, 17)}…` : step.name)));
  for (const one of bars) {
    const bar = drawn("rect", { x: place(one.from), y: one.lane * LANE + 4, width: Math.max(2, place(one.to) - place(one.from)), height: LANE - 8, rx: 2, class: `pq-try pq-try-${one.state}` });
    bar.append(drawn("title", {}, `${one.step.name}, attempt ${one.attempt}: ${one.state}, ${duration(one.to - one.from)}`));
    svg.append(bar);
  }
  for (const at of [0, 0.5, 1]) svg.append(drawn("text", { x: place(from + at * (to - from)), y: height - 4, class: "pq-tick", "text-anchor": at === 0 ? "start" : at === 1 ? "end" : "middle" }, duration(at * (to - from))));
  const scroll = element("div", { class: "pq-scroll", tabindex: "0", role: "region", "aria-label": "Timeline" });
  scroll.append(svg);
  return scroll;
}
