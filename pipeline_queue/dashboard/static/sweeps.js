// The page of all sweeps: a row each, newest first, filtered and paged by the server, the shown ones live.
import { get, live, page, problem, remember, runPage, sweepPage } from "./api.js";
import { ago, bar, counted, duration, element, left, number, stateMark, when } from "./format.js";

const ROWS = 50, TYPING_MS = 250, STATES = ["", "active", "running", "paused", "succeeded", "failed", "cancelled", "stopped"];
const HEADS = ["Sweep", "State", "Progress", "Best", "Failures", "Rate", "Left", "Started"];
const asked = new URLSearchParams(location.search);
const view = { search: asked.get("search") ?? "", state: asked.get("state") ?? "", offset: Number(asked.get("offset")) || 0 };
const rows = new Map();
let shown = { sweeps: [], matched: 0, total: 0, read: 0 }, typing = null, fetching = null;

const head = element("div", { class: "pq-head" });
head.append(element("h1", {}, "Sweeps"), element("p", { class: "pq-count", id: "count", role: "status" }));
const form = element("form", { class: "pq-filter", role: "search" });
const search = element("input", { type: "search", class: "form-control", id: "search", placeholder: "Name, pipeline or person", "aria-label": "Filter by name, pipeline or person" });
const state = element("select", { class: "form-select", id: "state", "aria-label": "Filter by state" });
for (const one of STATES) state.append(element("option", { value: one }, one || "all states"));
search.value = view.search;
state.value = view.state;
form.append(search, state);
const table = element("table", { class: "pq-table pq-cards", id: "sweeps" });
const headRow = element("tr");
for (const name of HEADS) headRow.append(element("th", { scope: "col" }, name));
const tableHead = element("thead");
tableHead.append(headRow);
const body = element("tbody");
table.append(tableHead, body);
const empty = element("div", { class: "pq-empty", hidden: "" });
const pager = element("nav", { class: "pq-pager", "aria-label": "Pages" });
page.host.replaceChildren(head, form, table, empty, pager);

function cell(label, ...content) {
  const made = element("td", { "data-label": label });
  made.append(...content.map((one) => (one instanceof Node ? one : document.createTextNode(one ?? ""))));
  return made;
}

function rowOf(sweep) {
  const row = element("tr", { id: `row-${sweep.id}` });
  const link = element("a", { href: sweep.runs === 1 ? runPage(`${sweep.id}.0`) : sweepPage(sweep.id) }, sweep.name);
  const name = cell("Sweep", link, element("small", {}, sweep.name === sweep.id ? sweep.submitted_by : `${sweep.id} · ${sweep.submitted_by}`));
  const done = sweep.counts.succeeded + sweep.counts.failed + sweep.counts.cancelled;
  const told = sweep.runs === 1 ? "1 run" : `${done.toLocaleString()} of ${counted(sweep.runs, "run")}`;
  const best = sweep.best ? cell("Best", element("span", { class: "pq-number" }, number(sweep.best.value)), element("small", {}, sweep.best.metric)) : cell("Best", "–");
  const failures = sweep.counts.failed
    ? cell("Failures", element("span", { class: "pq-number" }, sweep.counts.failed.toLocaleString()), element("small", { class: "pq-cause", title: sweep.cause?.text }, sweep.cause?.text ?? ""))
    : cell("Failures", "–");
  const rate = sweep.rate_per_hour ? `${number(sweep.rate_per_hour, 3)}/h` : "–";
  const rest = sweep.ended_at ? element("small", {}, `took ${duration(sweep.ended_at - sweep.created_at)}`) : left(sweep) || "–";
  row.append(name, cell("State", stateMark(sweep.state)), cell("Progress", bar(sweep.counts, sweep.runs), element("small", {}, told)), best, failures,
    cell("Rate", rate), cell("Left", rest), cell("Started", when(sweep.created_at, ago(sweep.created_at))));
  return row;
}

function draw() {
  const kept = new Set(shown.sweeps.map((one) => one.id));
  for (const [id, known] of rows) if (!kept.has(id)) { known.row.remove(); rows.delete(id); }
  shown.sweeps.forEach((sweep, at) => {
    const text = JSON.stringify(sweep) + ago(sweep.created_at);
    let known = rows.get(sweep.id);
    if (!known || known.text !== text) {
      const made = { text, row: rowOf(sweep) };
      // A link that has the focus keeps it.
      const hasFocus = known?.row.contains(document.activeElement);
      if (known) known.row.replaceWith(made.row);
      rows.set(sweep.id, (known = made));
      if (hasFocus) made.row.querySelector("a").focus();
    }
    if (body.children[at] !== known.row) body.insertBefore(known.row, body.children[at] ?? null);
  });
  const isFiltered = view.search || view.state;
  const reading = shown.read < shown.total ? `; reading older ones, ${shown.read.toLocaleString()} of ${shown.total.toLocaleString()}` : "";
  document.getElementById("count").textContent = (isFiltered ? `${shown.matched.toLocaleString()} of ${counted(shown.total, "sweep")}` : counted(shown.total, "sweep")) + reading;
  table.hidden = shown.sweeps.length === 0;
  empty.hidden = shown.sweeps.length > 0;
  empty.replaceChildren(...(isFiltered
    ? [element("p", {}, "No sweep matches.")]
    : [element("p", {}, "There are no sweeps yet. Start one:"), element("pre", {}, "pipeline-queue sweep pipeline.yaml -p learning_rate=0.1,0.01,0.001")]));
  const last = Math.max(0, Math.ceil(shown.matched / ROWS) - 1), now = Math.floor(view.offset / ROWS);
  const turn = (text, to, ok) => {
    const button = element("button", { type: "button", class: "btn btn-sm btn-outline-secondary" }, text);
    button.disabled = !ok;
    button.addEventListener("click", () => { view.offset = to * ROWS; load(); });
    return button;
  };
  pager.hidden = last === 0;
  pager.replaceChildren(turn("Newer", now - 1, now > 0), element("span", {}, `Page ${now + 1} of ${last + 1}`), turn("Older", now + 1, now < last));
}

async function load() {
  remember(view);
  const mine = (fetching = get("/api/sweeps", { ...view, limit: ROWS }));
  try {
    const found = await mine;
    if (mine !== fetching) return;
    shown = found;
    problem("");
    draw();
  } catch (error) {
    problem(error.message);
  }
}

search.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => { view.search = search.value.trim(); view.offset = 0; load(); }, TYPING_MS); });
state.addEventListener("change", () => { view.state = state.value; view.offset = 0; load(); });
form.addEventListener("submit", (event) => { event.preventDefault(); view.search = search.value.trim(); view.offset = 0; load(); });
live("sweeps", (found) => {
  if (view.offset === 0 && !view.search && !view.state) {
    shown = { ...found, matched: found.total, sweeps: found.sweeps.slice(0, ROWS) };
    draw();
  } else load();
}, () => get("/api/sweeps", { limit: ROWS }));
