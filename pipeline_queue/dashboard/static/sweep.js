// The page of one sweep: its head and actions, failures by cause, plots, and the table of its runs.
import { confirmed, get, live, page, path, post, problem, runPage, say } from "./api.js";
import { bar, counted, duration, element, left, number, stateMark, when } from "./format.js";
import { sweepTable } from "./runs_table.js";
import { plots } from "./plots.js";

const ENDED = ["succeeded", "failed", "cancelled", "stopped"];
const MANY = 100;
const ACTIONS = {
  pause: ["Pause", "btn-outline-secondary"], resume: ["Resume", "btn-outline-primary"], retry: ["Retry failed", "btn-outline-primary"],
  cancel: ["Cancel sweep", "btn-outline-danger"], forget: ["Forget", "btn-outline-danger"],
};
let sweep = null, version = null;

const part = (name, title) => {
  const made = element("section", { id: name, "aria-labelledby": `${name}-title` });
  made.append(element("h2", { id: `${name}-title` }, title), element("div"));
  return made;
};
const head = element("div", { class: "pq-head" }), progress = element("div", { class: "pq-progress" }), facts = element("dl", { class: "pq-facts" });
const buttons = element("div", { class: "pq-buttons" });
const parts = { failures: part("failures", "Failures by cause"), plots: part("plots", "Plots"), runs: part("runs", "Runs that have ended"), about: part("about", "About this sweep") };
page.host.replaceChildren(head, progress, buttons, facts, ...Object.values(parts));
const table = sweepTable(parts.runs.lastChild, page.id);
const drawnPlots = plots(parts.plots.lastChild, page.id, (where) => table.narrow(where));

function fact(name, ...value) {
  const made = element("div"), shown = element("dd");
  shown.append(...value.map((one) => (one instanceof Node ? one : document.createTextNode(one ?? "–"))));
  made.append(element("dt", {}, name), shown);
  return made;
}

async function act(action, body = {}) {
  const touched = action === "forget" ? sweep.runs : sweep.counts.queued + sweep.counts.running;
  const questions = {
    cancel: `Cancel ${counted(touched, "run")} of ${sweep.name}? Running steps are stopped. (pipeline-queue cancel ${sweep.id})`,
    forget: `Delete ${sweep.name} with the outputs and logs of ${counted(touched, "run")}? This cannot be undone. (pipeline-queue forget ${sweep.id})`,
  };
  const word = touched > MANY ? sweep.name : null;
  if (questions[action] && !(await confirmed(questions[action], ACTIONS[action][0], word))) return;
  try {
    const done = await post(`/api/sweeps/${encodeURIComponent(sweep.id)}/${action}`, body);
    say(done.done);
    if (action === "forget") location.href = path("/sweeps");
    else draw({ ...(await get(`/api/sweeps/${encodeURIComponent(sweep.id)}`)), version, reading: null });
  } catch (error) {
    say(error.message, "bad");
  }
}

function drawHead() {
  head.replaceChildren(element("h1", {}, sweep.name), stateMark(sweep.state));
  if (sweep.name !== sweep.id) head.append(element("span", { class: "pq-count" }, sweep.id));
  const done = sweep.counts.succeeded + sweep.counts.failed + sweep.counts.cancelled;
  const told = Object.entries(sweep.counts).filter(([, count]) => count).map(([name, count]) => `${count.toLocaleString()} ${name}`).join(", ");
  progress.replaceChildren(bar(sweep.counts, sweep.runs), element("p", { class: "pq-count", id: "counts" }, `${done.toLocaleString()} of ${counted(sweep.runs, "run")} ended: ${told}`));
  const steps = sweep.steps_total ? `${sweep.steps_done.toLocaleString()} of ${sweep.steps_total.toLocaleString()}` : "–";
  const waits = Object.entries(sweep.waiting).map(([step, count]) => `${count.toLocaleString()} for ${step}`).join(", ");
  const best = sweep.best ? [element("a", { href: runPage(sweep.best.run) }, `${sweep.best.metric} ${number(sweep.best.value)}`), ` (${sweep.best.goal})`] : ["–"];
  const shown = [fact("Best", ...best), fact("Steps done", steps), fact("Executing", sweep.executing.toLocaleString()),
    fact("Rate", sweep.rate_per_hour ? `${number(sweep.rate_per_hour, 3)} runs/h` : "–"),
    ENDED.includes(sweep.state) ? fact("Took", sweep.ended_at ? duration(sweep.ended_at - sweep.created_at) : "–") : fact("Time left", left(sweep) || "–"),
    fact("Started", when(sweep.created_at)), fact("By", sweep.submitted_by || "–"), fact("At most in parallel", sweep.max_parallel ? String(sweep.max_parallel) : "no limit")];
  if (waits) shown.push(fact("Wait for a shared step", waits));
  if (sweep.held) shown.push(fact("Held until resumed", sweep.held.toLocaleString()));
  if (sweep.retrying) shown.push(fact("Wait to be tried again", sweep.retrying.toLocaleString()));
  facts.replaceChildren(...shown);
  drawButtons();
}

function drawButtons() {
  const key = sweep.may.join() + page.mayAct;
  if (buttons.dataset.key === key) return;
  buttons.dataset.key = key;
  buttons.replaceChildren();
  if (!page.mayAct) { buttons.append(element("span", { class: "pq-count" }, page.whyNot)); return; }
  for (const action of sweep.may) {
    const button = element("button", { type: "button", class: `btn btn-sm ${ACTIONS[action][1]}`, "data-action": action }, ACTIONS[action][0]);
    button.addEventListener("click", async () => {
      button.disabled = true;
      await act(action);
      button.disabled = false;
      // A button that is disabled loses the focus.
      if (document.activeElement === document.body) button.focus();
    });
    buttons.append(button);
  }
}

function drawFailures() {
  const text = JSON.stringify(sweep.failures);
  if (parts.failures.dataset.text === text) return;
  parts.failures.dataset.text = text;
  parts.failures.hidden = sweep.failures.length === 0;
  const list = element("ul", { class: "pq-failures" });
  for (const one of sweep.failures) {
    const item = element("li"), show = element("button", { type: "button", class: "btn btn-sm btn-outline-secondary" }, "Show these runs");
    show.addEventListener("click", () => { table.narrow(`cause = ${quoted(one.cause)}`); parts.runs.scrollIntoView(); });
    item.append(element("strong", {}, counted(one.count, "run")), " ", element("span", {}, one.cause));
    if (one.shared) item.append(element("small", {}, `${counted(one.shared, "run")} of them share another run's failed step`));
    if (one.reason) item.append(element("pre", { tabindex: "0" }, one.reason));
    const links = element("div", { class: "pq-buttons" });
    if (one.example) links.append(element("a", { href: runPage(one.example) }, `Example: run ${one.example}`));
    links.append(show);
    item.append(links);
    list.append(item);
  }
  parts.failures.lastChild.replaceChildren(list);
}

const quoted = (text) => `'${text.replaceAll("'", "''")}'`;

function drawAbout() {
  const text = JSON.stringify([sweep.pipeline_text, sweep.audit, sweep.constants]);
  if (parts.about.dataset.text === text) return;
  parts.about.dataset.text = text;
  const rows = element("dl", { class: "pq-facts" });
  rows.append(fact("Pipeline", sweep.pipeline), fact("File", sweep.source || "–"), fact("Steps", sweep.steps.join(" → ")), fact("Varied", sweep.parameters.join(", ") || "nothing"),
    fact("Fixed", Object.entries(sweep.constants).map(([name, value]) => `${name}=${value}`).join(", ") || "nothing"), fact("On the storage", sweep.storage));
  const file = element("details"), shown = [rows, file];
  file.append(element("summary", {}, "The pipeline as it was accepted"), element("pre", { tabindex: "0" }, sweep.pipeline_text));
  if (sweep.audit.length) {
    const list = element("ul");
    for (const one of [...sweep.audit].reverse()) {
      const item = element("li");
      item.append(when(one.at), ` ${one.who}: ${one.action}${one.run ? ` run ${one.run}` : ""}. ${one.detail}`);
      list.append(item);
    }
    shown.push(element("h3", {}, "Actions"), list);
  }
  parts.about.lastChild.replaceChildren(...shown);
}

function draw(found) {
  sweep = found;
  drawHead();
  drawFailures();
  drawAbout();
  if (found.version !== version || found.reading) {
    version = found.version;
    table.refresh(found.reading);
    drawnPlots.refresh(found.ended);
  }
}

live(`sweep:${page.id}`, draw, () => get(`/api/sweeps/${encodeURIComponent(page.id)}`));
get(`/api/sweeps/${encodeURIComponent(page.id)}`).then((found) => { if (!sweep) draw({ ...found, version: -1, reading: null }); },
  (error) => { problem(error.message); page.host.replaceChildren(element("h1", {}, `Sweep ${page.id}`), element("p", {}, error.message)); });
