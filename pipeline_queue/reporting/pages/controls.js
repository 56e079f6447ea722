// The fields above the plots: search, metric, its direction, and how many runs are left.
import { element, grouped, labelled, offer, quietForm } from "./dom.js";

export function modelControls(host, model) {
  const root = element("div", { class: "plots" }), form = quietForm();
  const search = element("input", { class: "search", type: "search", placeholder: "adam 0.01", autocomplete: "off", spellcheck: "false" });
  const metric = element("select", { class: "metric" }), direction = element("select", { class: "direction" });
  direction.append(element("option", { value: "high" }, "the highest"), element("option", { value: "low" }, "the lowest"));
  const clear = element("button", { class: "clear", type: "button" }, "Clear filters"), count = element("span", { class: "count", role: "status" });
  form.append(labelled("Filter", search), labelled("Metric", metric), labelled("Best is", direction), clear, count);
  root.append(form);
  host.append(root);
  search.addEventListener("input", () => model.searchFor(search.value));
  metric.addEventListener("change", () => model.chooseMetric(metric.value));
  direction.addEventListener("change", () => model.chooseDirection(direction.value === "high"));
  clear.addEventListener("click", () => {
    model.clear();
    search.value = "";
    search.focus();
  });
  return model.attach({
    draw() {
      host.hidden = model.rows.length === 0;
      offer(metric, model.metrics(), model.metric);
      direction.value = model.largest ? "high" : "low";
      const { visible, rows } = model;
      const text = visible.length < rows.length ? `${grouped(visible.length)} of ${grouped(rows.length)} runs` : "";
      if (count.textContent !== text) count.textContent = text;
      clear.disabled = model.brushes.size === 0 && model.words.length === 0;
    },
  });
}
