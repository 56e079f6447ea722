// The table of the runs: sorted by its heads, a hundred rows at a time, walked through by arrow keys.
import { counted, cut, element, grouped, keepFocus, shown } from "./dom.js";

const ROWS_A_TIME = 100;
const STATES = ["succeeded", "failed", "cancelled"];

// `linkOf` gives the address of a row's run, or null; with it the table begins with the column `run`.
export function runsTable(host, model, { linkOf = null } = {}) {
  const root = element("div", { class: "plots runs" }), scroll = element("div", { class: "scroll", role: "region", "aria-label": "Runs" });
  const table = element("table"), top = element("thead"), head = element("tr"), body = element("tbody");
  const more = element("button", { type: "button", class: "more" }, "Show more"), line = element("p"), constant = element("p", { class: "constant" });
  top.append(head);
  table.append(top, body);
  scroll.append(table);
  line.append(more);
  root.append(scroll, line, constant);
  host.append(root);
  const state = { limit: ROWS_A_TIME, asked: "", heads: "" };
  walkRows(body, model);
  more.addEventListener("click", () => { state.limit *= 2; drawRows(); });

  const listed = () => [...(linkOf ? [model.named("run")] : []), model.named("index"), model.named("state"), ...model.ofKind("changed"), ...model.ofKind("metric"), model.named("seconds"), model.named("cause")].filter(Boolean);
  function headOf(column) {
    const made = element("th", { scope: "col" }), button = element("button", { type: "button", "data-key": `sort by ${column.name}` }, column.name);
    if (model.extent(column).numeric) made.className = "number";
    if (column === model.sort) {
      made.setAttribute("aria-sort", model.descending ? "descending" : "ascending");
      button.append(model.descending ? " ▼" : " ▲");
    }
    button.addEventListener("click", () => model.sortBy(column.name));
    made.append(button);
    return made;
  }
  function rowOf(index, number, best) {
    const row = model.rows[index], run = model.valueOf(index, "run");
    const made = element("tr", { "data-index": index, "data-key": `row ${run}`, tabindex: number === 0 ? "0" : "-1" });
    made.classList.toggle("best", index === best);
    made.append(...listed().map((column) => fieldOf(row, column, model.extent(column).numeric)));
    return made;
  }
  function fieldOf(row, column, isNumeric) {
    const value = row[column.at], text = shown(value, column), field = element("td");
    const href = column.name === "run" ? linkOf(row) : null;
    if (href === null) field.textContent = text;
    else field.append(element("a", { href, "data-key": `link ${text}` }, text));
    if (isNumeric) field.classList.add("number");
    if (value === null) field.classList.add("missing");
    if (column.name === "state" && STATES.includes(value)) field.classList.add(value);
    if (text.length > 30) field.title = text;
    return field;
  }
  function drawHead() {
    const columns = listed(), heads = JSON.stringify([columns.map((column) => [column.name, model.extent(column).numeric]), model.sort?.name, model.descending]);
    if (heads === state.heads) return;
    state.heads = heads;
    head.replaceChildren(...columns.map(headOf));
  }
  function drawRows() {
    const best = model.bestRun(), left = model.order.length - state.limit;
    body.replaceChildren(...model.order.slice(0, state.limit).map((index, number) => rowOf(index, number, best)));
    more.hidden = left <= 0;
    more.textContent = `Show more (${grouped(Math.max(0, left))} left)`;
  }
  function draw() {
    const asked = JSON.stringify([model.search, model.sort?.name, model.descending]);
    if (asked !== state.asked) Object.assign(state, { asked, limit: ROWS_A_TIME });
    keepFocus(root, () => { drawHead(); drawRows(); });
    scroll.setAttribute("aria-label", `Runs, ${counted(model.order.length, "row")}`);
    const same = model.ofKind("constant").map((column) => `${column.name}=${cut(shown(model.rows[0]?.[column.at] ?? null, column), 60)}`);
    constant.textContent = same.length ? `The same in all runs: ${same.join("  ")}` : "";
  }
  function light(index) {
    for (const row of body.rows) row.classList.toggle("lit", Number(row.dataset.index) === index);
  }
  return model.attach({ draw, light });
}
function walkRows(body, model) {
  const index = (event) => Number(event.target.closest("tr")?.dataset.index ?? -1);
  body.addEventListener("pointerover", (event) => model.light(index(event)));
  body.addEventListener("pointerleave", () => model.light(-1));
  body.addEventListener("focusin", (event) => model.light(index(event)));
  body.addEventListener("focusout", () => model.light(-1));
  body.addEventListener("keydown", (event) => {
    const row = event.target.closest("tr"), next = { ArrowDown: row?.nextSibling, ArrowUp: row?.previousSibling }[event.key];
    if (!next) return;
    event.preventDefault();
    row.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
}
