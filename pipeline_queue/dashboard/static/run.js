// The page of one run: what it was given, what its steps did, its log and outputs, and what can be done with it.
import { confirmed, get, live, page, path, post, problem, runPage, say, sweepPage } from "./api.js";
import { bytes, duration, element, number, stateMark, when } from "./format.js";
import { plainTable } from "./tables.js";
import { logView } from "./log_view.js";
import { againForm } from "./again.js";
import { timeline } from "./timeline.js";

const ENDED = ["succeeded", "failed", "cancelled", "lost"];
const IMAGES = /\.(png|jpe?g|gif|webp)$/i, TEXTS = /\.(txt|log|json|jsonl|csv|tsv|ya?ml|md|py|sh|toml|ini|cfg|html?|xml|svg)$/i;
let run = null;

const part = (name, title) => {
  const made = element("section", { id: name, "aria-labelledby": `${name}-title` });
  made.append(element("h2", { id: `${name}-title` }, title), element("div"));
  return made;
};
const head = element("div", { class: "pq-head" }), buttons = element("div", { class: "pq-buttons" }), facts = element("dl", { class: "pq-facts" });
const message = element("p", { class: "pq-note", hidden: "" });
const parts = { again: part("again", "Run again with changed values"), steps: part("steps", "Steps"), values: part("values", "Parameters and metrics"), log: part("log", "Log"), outputs: part("outputs", "Outputs"), trace: part("trace", "What happened to each parameter") };
parts.again.hidden = true;
page.host.replaceChildren(head, buttons, message, facts, ...Object.values(parts));
const logs = logView(parts.log.lastChild, page.id, () => run !== null && ENDED.includes(run.state));
const inner = (name, ...content) => parts[name].lastChild.replaceChildren(...content);

function fact(name, value) {
  const made = element("div"), shown = element("dd");
  shown.append(value instanceof Node ? value : document.createTextNode(value ?? "–"));
  made.append(element("dt", {}, name), shown);
  return made;
}

function button(text, title, act, kind = "btn-outline-secondary") {
  const made = element("button", { type: "button", class: `btn btn-sm ${kind}`, title }, text);
  made.addEventListener("click", act);
  return made;
}

async function act(action, question, label) {
  if (question && !(await confirmed(question, label))) return;
  try {
    say((await post(`/api/runs/${encodeURIComponent(run.run)}/${action}`)).done);
    draw(await read());
  } catch (error) {
    say(error.message, "bad");
  }
}

function drawHead() {
  const name = element("a", { href: sweepPage(run.sweep) }, run.sweep_name);
  head.replaceChildren(element("h1", {}, `Run ${run.run}`), stateMark(run.state), element("span", { class: "pq-count" }, "of"), name);
  const able = [];
  if (page.mayAct && run.may.includes("cancel")) able.push(button("Cancel run", "Stop this run", () => act("cancel", `Cancel run ${run.run}? Its running step is stopped.`, "Cancel run"), "btn-outline-danger"));
  if (page.mayAct && run.may.includes("retry")) able.push(button("Retry", "Go on from the first step that is not published", () => act("retry")));
  if (page.mayAct) able.push(button("Run again with changed values", "Start a new run of the same pipeline", () => { parts.again.hidden = !parts.again.hidden; if (!parts.again.hidden) parts.again.querySelector("input, select")?.focus(); }));
  able.push(button("Copy command", "Copy the command line that runs this again", async () => {
    try { await navigator.clipboard.writeText(run.command); say("Copied."); } catch { say(run.command); }
  }));
  for (const [id, text, key] of [[run.previous_failed, "Previous failed", "k"], [run.next_failed, "Next failed", "j"]])
    if (id) able.push(element("a", { href: runPage(id), class: "btn btn-sm btn-outline-secondary", "data-key": key, title: `Key ${key}` }, text));
  if (!page.mayAct) able.push(element("span", { class: "pq-count" }, page.whyNot));
  const had = document.activeElement?.textContent;
  buttons.replaceChildren(...able);
  if (had) [...buttons.children].find((one) => one.textContent === had)?.focus();
  message.hidden = !run.message;
  message.textContent = run.message;
  facts.replaceChildren(fact("Started", when(run.started_at)), fact("Ended", when(run.ended_at)),
    fact("Took", run.started_at && run.ended_at ? duration(run.ended_at - run.started_at) : "–"), fact("Index in its sweep", String(run.index)));
}

function drawValues() {
  const changed = new Set(run.changed);
  const rows = Object.entries(run.parameters).map(([name, value]) => [name, String(value), changed.has(name) ? "varies in its sweep" : ""]);
  const metrics = Object.entries(run.metrics).map(([name, value]) => [name, number(value, 10)]);
  const grid = element("div", { class: "pq-columns" });
  grid.append(rows.length ? plainTable(["Parameter", "Value", ""], rows) : element("p", {}, "The pipeline has no parameters."),
    metrics.length ? plainTable(["Metric", "Value"], metrics) : element("p", {}, "No step has written a metric."));
  inner("values", grid);
}

function drawSteps() {
  const rows = [], host = parts.steps.lastChild;
  // What somebody has opened, and where the focus is, stays so while the run goes on.
  const open = new Set([...host.querySelectorAll("details[open]")].map((one) => one.dataset.step));
  const focused = host.contains(document.activeElement) ? document.activeElement.closest("details")?.dataset.step : undefined;
  for (const step of run.steps) {
    const told = [step.message, ...step.notes, ...(run.explain?.[step.name] ?? [])].filter(Boolean);
    const about = element("div");
    for (const text of told) about.append(element("small", {}, text));
    for (const one of step.tries.length > 1 || step.state === "failed" ? step.tries : [])
      about.append(element("small", {}, `attempt ${one.attempt} on ${one.worker || "?"}: ${one.state}${one.cause ? `, ${one.cause.replaceAll("_", " ")}` : ""}${one.message ? `: ${one.message}` : ""}`));
    if (step.argv.length) {
      const words = element("details", { "data-step": step.name });
      words.open = open.has(step.name);
      words.append(element("summary", {}, "Command"), element("pre", { tabindex: "0" }, step.argv.join("\n")));
      about.append(words);
    }
    rows.push([step.name, stateMark(step.state), String(step.attempts), step.exit_code === null ? "–" : String(step.exit_code), duration(step.seconds), step.worker || "–", about]);
  }
  inner("steps", timeline(run), plainTable(["Step", "State", "Attempts", "Exit code", "Took", "Worker", "About"], rows));
  if (focused !== undefined) [...host.querySelectorAll("details")].find((one) => one.dataset.step === focused)?.firstChild.focus();
}

function drawOutputs() {
  const rows = [];
  for (const step of run.steps)
    for (const [kind, list] of [["", step.outputs], ["kept of a failed attempt", step.kept]])
      for (const file of list) {
        const address = path(`/api/runs/${encodeURIComponent(run.run)}/files/${encodeURIComponent(step.name)}/${file.path.split("/").map(encodeURIComponent).join("/")}`);
        const links = element("span");
        if (IMAGES.test(file.path) || TEXTS.test(file.path)) {
          const look = element("button", { type: "button", class: "btn btn-sm btn-outline-secondary" }, "View");
          look.addEventListener("click", () => view(look, file, address));
          links.append(look, " ");
        }
        links.append(element("a", { href: address, download: "" }, "Download"));
        rows.push([step.name, file.path, file.size === null ? "link" : bytes(file.size), kind, links]);
      }
  const text = JSON.stringify(rows.map((row) => row.slice(0, 4)));
  if (text === drawOutputs.text) return;
  drawOutputs.text = text;
  inner("outputs", rows.length ? plainTable(["Step", "File", "Size", "", ""], rows) : element("p", {}, "No step has published a file."));
}

async function view(look, file, address) {
  const row = look.closest("tr"), open = row.nextElementSibling;
  if (open?.dataset.view) { open.remove(); look.setAttribute("aria-expanded", "false"); return; }
  const cell = element("td", { colspan: "5" }), shown = element("tr", { "data-view": "yes" });
  if (IMAGES.test(file.path)) cell.append(element("img", { src: `${address}?view=1`, alt: file.path, class: "pq-image" }));
  else {
    const text = await fetch(new URL(`${address}?view=1`, `${location.protocol}//${location.host}`)).then((answer) => (answer.ok ? answer.text() : `The server answered ${answer.status}.`));
    cell.append(/\.csv$/i.test(file.path) ? csvTable(text) : element("pre", { tabindex: "0" }, text));
  }
  shown.append(cell);
  row.after(shown);
  look.setAttribute("aria-expanded", "true");
}

function csvTable(text) {
  const lines = [[""]];
  let quoted = false;
  for (let at = 0; at < text.length && lines.length <= 201; at++) {
    const line = lines[lines.length - 1], one = text[at];
    if (quoted) {
      if (one === '"' && text[at + 1] === '"') { line[line.length - 1] += '"'; at += 1; }
      else if (one === '"') quoted = false;
      else line[line.length - 1] += one;
    } else if (one === '"') quoted = true;
    else if (one === ",") line.push("");
    else if (one === "\n") lines.push([""]);
    else if (one !== "\r") line[line.length - 1] += one;
  }
  return plainTable(lines[0], lines.slice(1, 201).filter((line) => line.length > 1 || line[0]));
}

function draw(found) {
  run = found;
  drawHead();
  drawSteps();
  drawValues();
  drawOutputs();
  if (!parts.again.dataset.made) {
    parts.again.dataset.made = "yes";
    inner("again", againForm(run, (id) => { location.href = runPage(id); }));
  }
  const offered = run.steps.flatMap((step) => {
    const tries = step.tries.filter((one) => one.has_log).map((one) => ({ step: step.name, try: one.name, label: step.tries.length > 1 ? `${step.name}, attempt ${one.attempt}` : step.name }));
    return tries.length || !step.has_log ? tries : [{ step: step.name, try: "", label: step.name }];
  });
  const failed = run.steps.find((step) => step.state === "failed");
  logs.choose(offered, logs.wasChosen ? null : failed ? offered.filter((one) => one.step === failed.name).at(-1) ?? null : null);
  logs.wasChosen = true;
  inner("trace", plainTable(["#", "Action", "Parameter", "Value passed", "Effect"], run.trace.table.map((one) => [String(one.step), one.action, one.parameter, one.value_passed, one.effect])));
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog")) return;
  buttons.querySelector(`[data-key="${CSS.escape(event.key)}"]`)?.click();
});
const read = () => get(`/api/runs/${encodeURIComponent(page.id)}`);
read().then((found) => {
  draw(found);
  live(`run:${found.run}`, draw, read);
}, (error) => { problem(error.message); page.host.replaceChildren(element("h1", {}, `Run ${page.id}`), element("p", {}, error.message)); });
