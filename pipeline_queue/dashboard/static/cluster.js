// The page of workers and queues: who is there, what each slot does and did, what waits, and what doctor says.
import { get, live, page, runPage } from "./api.js";
import { bytes, counted, duration, element, stateMark } from "./format.js";
import { plainTable } from "./tables.js";
import { slotStrip } from "./slot_strip.js";

const head = element("div", { class: "pq-head" }), light = element("p", { id: "light", class: "pq-light", role: "status" });
head.append(element("h1", {}, "Workers and queues"));
const section = (id, title) => {
  const made = element("section", { id, "aria-labelledby": `${id}-title` });
  made.append(element("h2", { id: `${id}-title` }, title), element("div"));
  return made;
};
const parts = { workers: section("workers", "Workers"), strip: section("strip", "The last minutes"), queues: section("queues", "Queues"), checks: section("checks", "Checks") };
page.host.replaceChildren(head, light, ...Object.values(parts));

function slotsOf(worker, now) {
  const made = element("div", { class: "pq-slots" });
  const busy = new Map(worker.steps.map((one) => [one.slot, one]));
  for (let slot = 0; slot < Math.min(worker.slots, 64); slot++) {
    const step = busy.get(slot);
    if (!step) { made.append(element("span", { class: "pq-slot", title: `slot ${slot}: free`, role: "img", "aria-label": `slot ${slot}: free` })); continue; }
    const told = `slot ${slot}: step ${step.step} of run ${step.run} for ${duration(now - step.started_at)}`;
    made.append(element("a", { class: "pq-slot pq-busy", href: runPage(step.run), title: told, "aria-label": told }, "▶"));
  }
  return made;
}

function draw(found) {
  const words = { ok: "Everything works.", warn: "Something needs attention; see the checks below.", fail: "Something is wrong; see the checks below." };
  light.replaceChildren(stateMark(found.light), ` ${words[found.light]}`);
  const workers = found.workers.map((one) => {
    const name = element("div"), about = element("div");
    name.append(element("strong", {}, one.name), element("small", {}, `version ${one.version}${one.same_version ? "" : " (another one than here)"}; seen ${Math.round(one.seen_seconds_ago)} s ago`));
    for (const text of one.holds) about.append(element("small", { class: "pq-is-warn" }, `takes no steps: ${text}`));
    for (const text of one.notes) about.append(element("small", {}, text));
    if (one.warm) about.append(element("small", {}, `warm Python: ${one.warm.forked ?? 0} steps forked, ${one.warm.cold ?? 0} not`));
    if (one.idle.folders) about.append(element("small", {}, `${counted(one.idle.folders, "staged folder")} waiting (${bytes(one.idle.size_bytes)})`));
    const steps = element("div");
    for (const step of one.steps.slice(0, 8)) {
      const line = element("small");
      line.append(element("a", { href: runPage(step.run) }, `${step.run} ${step.step}`), ` for ${duration(found.now - step.started_at)}`);
      steps.append(line);
    }
    return [name, `${one.busy} of ${one.slots}`, slotsOf(one, found.now), steps, one.queues.join(", "), about];
  });
  parts.workers.lastChild.replaceChildren(workers.length
    ? plainTable(["Worker", "Busy", "Slots", "Now", "Queues", "Notes"], workers)
    : element("p", { class: "pq-empty" }, "No worker is alive. Start one with: pipeline-queue worker"));
  const queues = found.queues.map((one) => [one.name, one.waiting.toLocaleString(), one.served_by
    ? `${counted(one.served_by, "worker")}, ${counted(one.slots, "slot")}` : stateText("fail", one.waiting ? "no worker serves it" : "no worker")]);
  parts.queues.lastChild.replaceChildren(queues.length ? plainTable(["Queue", "Messages waiting", "Served by"], queues) : element("p", {}, "Nothing waits."));
  parts.checks.lastChild.replaceChildren(plainTable(["Check", "State", "Detail"], found.checks.map((one) => [one.name, stateMark(one.state), one.detail])));
  parts.strip.lastChild.replaceChildren(slotStrip(found, runPage));
}

function stateText(state, text) {
  const made = element("span");
  made.append(stateMark(state), `: ${text}`);
  return made;
}

live("cluster", draw, () => get("/api/cluster"));
