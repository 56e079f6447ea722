// The table of a sweep's ended runs: sorted, filtered and paged by the server, columns chosen here, files to download.
import { get, path, remember, runPage } from "./api.js";
import { counted, duration, element, number, stateMark } from "./format.js";

const ROWS = 100, TYPING_MS = 350;

export function sweepTable(host, sweep) {
  const asked = new URLSearchParams(location.search);
  const view = { where: asked.get("where") ?? "", sort: asked.get("sort") ?? "", offset: 0 };
  const hidden = new Set();
  const form = element("form", { class: "pq-filter", role: "search" });
  const where = element("input", { type: "text", class: "form-control", spellcheck: "false", placeholder: "accuracy >= 0.9 and optimizer in (sgd, adam)", "aria-label": "Filter runs in the language of --where", "aria-describedby": "where-problem" });
  where.value = view.where;
  const clear = element("button", { type: "button", class: "btn btn-outline-secondary" }, "Clear");
  const downloads = element("span", { class: "pq-buttons" }), columns = element("details", { class: "pq-choose" });
  form.append(where, clear, columns, downloads);
  const wrong = element("p", { id: "where-problem", class: "pq-wrong", role: "alert" }), told = element("p", { class: "pq-count", role: "status" });
  const scroll = element("div", { class: "pq-scroll", tabindex: "0", role: "region", "aria-label": "Runs" }), table = element("table", { class: "pq-table pq-cards", id: "runs-table" });
  scroll.append(table);
  const pager = element("nav", { class: "pq-pager", "aria-label": "Pages of runs" });
  host.replaceChildren(form, wrong, told, scroll, pager);
  let found = null, latest = 0, typing = null, reading = null;

  const shown = (value, column) => {
    if (column.name === "run") return element("a", { href: runPage(value) }, value.slice(value.lastIndexOf(".") + 1));
    if (column.name === "state") return stateMark(value);
    if (value === null || value === undefined) return "–";
    if (column.name === "seconds") return duration(value);
    if (column.name === "cause") return element("span", { class: "pq-cause", title: value }, value);
    return column.kind === "metric" ? number(value) : String(value);
  };

  function sorted(column) {
    const keys = view.sort.split(",")[0];
    return keys === column.name ? "ascending" : keys === `-${column.name}` ? "descending" : "none";
  }

  function draw() {
    const kept = found.columns.map((column, at) => ({ ...column, at })).filter((column) => column.name !== "index" && !hidden.has(column.name));
    const head = element("thead"), top = element("tr"), body = element("tbody");
    for (const column of kept) {
      const order = sorted(column), cell = element("th", { scope: "col", "aria-sort": order });
      const button = element("button", { type: "button", class: "pq-sort" }, column.name + (order === "ascending" ? " ▲" : order === "descending" ? " ▼" : ""));
      button.addEventListener("click", () => {
        const isFirst = column.kind === "metric" && !column.low ? "descending" : "ascending";
        const next = order === "none" ? isFirst : order === isFirst ? (isFirst === "ascending" ? "descending" : "ascending") : "none";
        view.sort = next === "none" ? "" : next === "descending" ? `-${column.name}` : column.name;
        view.offset = 0;
        load();
      });
      cell.append(button);
      top.append(cell);
    }
    head.append(top);
    for (const row of found.rows) {
      const line = element("tr");
      for (const column of kept) {
        const cell = element("td", { "data-label": column.name, class: typeof row[column.at] === "number" ? "pq-number" : null });
        cell.append(shown(row[column.at], column));
        line.append(cell);
      }
      body.append(line);
    }
    const focused = table.contains(document.activeElement) ? document.activeElement.textContent.replace(/ [▲▼]$/, "") : null;
    table.replaceChildren(head, body);
    if (focused) [...table.querySelectorAll("button, a")].find((one) => one.textContent.replace(/ [▲▼]$/, "") === focused)?.focus();
    told.textContent = (view.where ? `${counted(found.matched, "run")} ${found.matched === 1 ? "matches" : "match"}` : counted(found.matched, "ended run"))
      + ` of ${found.total.toLocaleString()}` + (reading ? `; reading, ${reading.done.toLocaleString()} so far` : "");
    drawColumns();
    drawPager();
    const query = new URLSearchParams({ where: view.where, sort: view.sort });
    downloads.replaceChildren(...["csv", "json", "parquet"].map((form) => element("a", { href: path(`/api/sweeps/${encodeURIComponent(sweep)}/runs.${form}?${query}`), download: "" }, form.toUpperCase())));
  }

  function drawColumns() {
    const names = found.columns.map((column) => column.name).filter((name) => name !== "run" && name !== "index");
    if (columns.dataset.names === names.join("\n")) return;
    columns.dataset.names = names.join("\n");
    if (names.length > 24) for (const column of found.columns.filter((one) => one.kind === "constant")) hidden.add(column.name);
    columns.replaceChildren(element("summary", {}, "Columns"));
    for (const name of names) {
      const label = element("label"), box = element("input", { type: "checkbox" });
      box.checked = !hidden.has(name);
      box.addEventListener("change", () => { box.checked ? hidden.delete(name) : hidden.add(name); draw(); });
      label.append(box, ` ${name}`);
      columns.append(label);
    }
  }

  function drawPager() {
    const last = Math.max(0, Math.ceil(found.matched / ROWS) - 1), now = Math.floor(view.offset / ROWS);
    const turn = (text, to, isOn) => {
      const button = element("button", { type: "button", class: "btn btn-sm btn-outline-secondary" }, text);
      button.disabled = !isOn;
      button.addEventListener("click", () => { view.offset = to * ROWS; load(); });
      return button;
    };
    pager.hidden = last === 0;
    pager.replaceChildren(turn("Previous", now - 1, now > 0), element("span", {}, `Page ${now + 1} of ${(last + 1).toLocaleString()}`), turn("Next", now + 1, now < last));
  }

  async function load() {
    const mine = ++latest;
    remember({ where: view.where, sort: view.sort });
    try {
      const answer = await get(`/api/sweeps/${encodeURIComponent(sweep)}/runs`, { ...view, limit: ROWS });
      if (mine !== latest) return;
      found = answer;
      reading = answer.reading;
      wrong.textContent = "";
      where.removeAttribute("aria-invalid");
      draw();
    } catch (error) {
      if (mine !== latest) return;
      wrong.textContent = error.message;
      if (error.status === 422) where.setAttribute("aria-invalid", "true");
    }
  }

  where.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => { view.where = where.value.trim(); view.offset = 0; load(); }, TYPING_MS); });
  form.addEventListener("submit", (event) => { event.preventDefault(); view.where = where.value.trim(); view.offset = 0; load(); });
  clear.addEventListener("click", () => { where.value = view.where = ""; view.offset = 0; load(); });
  load();
  return {
    refresh() { load(); },
    narrow(condition) { where.value = view.where = condition; view.offset = 0; load(); },
  };
}
