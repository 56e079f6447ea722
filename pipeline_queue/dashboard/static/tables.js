// A plain table of rows: each cell a text or an element; on narrow screens each row is a card.
import { element } from "./format.js";

export function plainTable(heads, rows) {
  const made = element("table", { class: "pq-table pq-cards" }), top = element("tr"), body = element("tbody"), thead = element("thead");
  for (const text of heads) top.append(element("th", { scope: "col" }, text));
  thead.append(top);
  for (const cells of rows) {
    const row = element("tr");
    cells.forEach((one, at) => {
      const cell = element("td", { "data-label": heads[at] });
      cell.append(one instanceof Node ? one : document.createTextNode(String(one ?? "")));
      row.append(cell);
    });
    body.append(row);
  }
  made.append(thead, body);
  const scroll = element("div", { class: "pq-scroll" });
  scroll.append(made);
  return scroll;
}
