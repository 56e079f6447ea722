// The last minutes of every slot as a strip of bars, coloured by step name, with a text for those who cannot see it.
import { drawn } from "../shared/dom.js";
import { duration, element } from "./format.js";

const LANE = 14, LABEL = 190, WIDTH = 1000, SECONDS = 600, COLOURS = 6;

export function slotStrip(found, linkOf) {
  const lanes = found.workers.flatMap((worker) => Array.from({ length: Math.min(worker.slots, 64) }, (_, slot) => ({ worker: worker.name, slot })));
  if (lanes.length === 0) return element("p", {}, "There are no slots.");
  const at = new Map(lanes.map((one, lane) => [`${one.worker} ${one.slot}`, lane]));
  const earliest = found.strip.reduce((least, one) => Math.min(least, one.started_at), found.now - 60);
  const from = Math.max(found.now - SECONDS, earliest), span = Math.max(1, found.now - from);
  const place = (time) => LABEL + ((Math.max(time, from) - from) / span) * (WIDTH - LABEL);
  const names = [...new Set(found.strip.map((one) => one.step))];
  const height = lanes.length * LANE + 22;
  const busy = found.strip.reduce((sum, one) => sum + (Math.min(one.ended_at ?? found.now, found.now) - Math.max(one.started_at, from)), 0);
  const share = Math.max(0, Math.min(100, Math.round((100 * busy) / (span * lanes.length))));
  const svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${height}`, class: "pq-strip", role: "group", "aria-label": `Slots in the last ${duration(span)}: busy ${share} % of the time` });
  lanes.forEach((one, lane) => {
    svg.append(drawn("text", { x: 0, y: lane * LANE + 11 }, one.slot === 0 ? (one.worker.length > 26 ? `${one.worker.slice(0, 25)}…` : one.worker) : ""));
    svg.append(drawn("rect", { x: LABEL, y: lane * LANE + 1, width: WIDTH - LABEL, height: LANE - 2, class: "pq-free" }));
  });
  for (const one of found.strip) {
    const lane = at.get(`${one.worker} ${one.slot}`);
    if (lane === undefined || (one.ended_at ?? found.now) < from) continue;
    const link = drawn("a", { href: linkOf(one.run) }), title = `${one.run} ${one.step}: ${one.state}, ${duration((one.ended_at ?? found.now) - one.started_at)}`;
    const bar = drawn("rect", { x: place(one.started_at), y: lane * LANE + 1, width: Math.max(1.5, place(one.ended_at ?? found.now) - place(one.started_at)), height: LANE - 2, class: `pq-step-${names.indexOf(one.step) % COLOURS}` });
    bar.append(drawn("title", {}, title));
    link.setAttribute("aria-label", title);
    link.append(bar);
    svg.append(link);
  }
  svg.append(drawn("text", { x: LABEL, y: height - 5 }, `${duration(span)} ago`), drawn("text", { x: WIDTH, y: height - 5, "text-anchor": "end" }, "now"));
  const box = element("div"), scroll = element("div", { class: "pq-scroll", tabindex: "0", role: "region", "aria-label": "The last minutes of each slot" });
  scroll.append(svg);
  box.append(scroll, element("p", { class: "pq-count" }, `Busy ${share} % of the last ${duration(span)}, as far as this page has seen.`));
  return box;
}
