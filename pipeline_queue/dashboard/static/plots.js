// The plots of a sweep's page: the shared ones over one model, fed by the server; what is brushed narrows the table.
import { modelControls } from "../shared/controls.js";
import { historyPlot } from "../shared/history.js";
import { importancePlot } from "../shared/importance.js";
import { parallelPlot } from "../shared/parallel.js";
import { scatterPlot } from "../shared/scatter.js";
import { makeModel } from "../shared/selection.js";
import { get, problem } from "./api.js";
import { element } from "./format.js";

const MIN_PAUSE_MS = 2000;
const PLOTS = [["parallel", "Parameters and metric", parallelPlot], ["importance", "Which parameters matter", importancePlot],
  ["scatter", "One column against another", scatterPlot], ["history", "Best so far", historyPlot]];

/** `onNarrow` gets the condition that what is brushed means, empty for none. Returns {refresh(ended)}. */
export function plots(host, sweep, onNarrow) {
  const told = element("p", { class: "pq-count", role: "status" }, "No run has ended yet."), controls = element("div"), sections = element("div", { class: "pq-plots" });
  host.replaceChildren(told, controls, sections);
  let model = null, isReading = false, mustRead = false, readAt = 0;

  function make(data) {
    model = makeModel(data);
    modelControls(controls, model);
    for (const [name, title, plot] of PLOTS) {
      const card = element("section", { class: "pq-card", id: `plot-${name}`, "aria-labelledby": `plot-${name}-title` }), place = element("div");
      card.append(element("h3", { id: `plot-${name}-title` }, title), place);
      sections.append(card);
      plot(place, model);
    }
    model.onBrush((conditions) => onNarrow(conditions.map(conditionOf).join(" and ")));
  }

  async function read() {
    if (isReading) { mustRead = true; return; }
    isReading = true;
    await new Promise((done) => setTimeout(done, Math.max(0, readAt + MIN_PAUSE_MS - Date.now())));
    readAt = Date.now();
    try {
      const data = await get(`/api/sweeps/${encodeURIComponent(sweep)}/plot`);
      if (data.rows.length) model ? model.replace(data) : make(data);
      told.hidden = data.rows.length > 0 && !data.sampled_from && !data.reading;
      told.textContent = data.reading ? `Reading runs, ${data.reading.done.toLocaleString()} so far.`
        : data.sampled_from ? `The plots show a sample of ${data.rows.length.toLocaleString()} of ${data.sampled_from.toLocaleString()} runs, the best among them.`
          : data.rows.length ? "" : "No run has ended yet.";
    } catch (error) {
      problem(error.message);
    }
    isReading = false;
    if (mustRead) { mustRead = false; read(); }
  }
  return { refresh: () => { read(); } };
}

const word = (value) => (typeof value === "number" || typeof value === "boolean" ? String(value) : `'${String(value).replaceAll("'", "''")}'`);
const nameOf = (name) => (/^[A-Za-z_][A-Za-z0-9_.]*$/.test(name) && !["and", "or", "not", "in"].includes(name) ? name : `'${name.replaceAll("'", "''")}'`);

function conditionOf({ name, low, high, values }) {
  if (values) return `${nameOf(name)} in (${values.map(word).join(", ")})`;
  return `${nameOf(name)} >= ${low} and ${nameOf(name)} <= ${high}`;
}
