// The page of `results --html`: puts its parts into the sections of results.html.
import { modelControls } from "./controls.js";
import { counted, grouped, shown } from "./dom.js";
import { historyPlot } from "./history.js";
import { importancePlot } from "./importance.js";
import { parallelPlot } from "./parallel.js";
import { scatterPlot } from "./scatter.js";
import { makeModel } from "./selection.js";
import { runsTable } from "./table.js";

const byId = (id) => document.getElementById(id);

function summarize(model) {
  const states = new Map(), best = model.bestRun();
  for (const index of model.rows.keys()) {
    const state = model.valueOf(index, "state");
    states.set(state, (states.get(state) ?? 0) + 1);
  }
  const parts = [counted(model.rows.length, "run"), ...[...states].map(([name, count]) => `${grouped(count)} ${name}`)];
  if (best >= 0) parts.push(`best ${model.metric.name} ${shown(model.rows[best][model.metric.at], model.metric)} in run ${model.valueOf(best, "index")}`);
  byId("summary").textContent = parts.join(" · ");
}
function openPage() {
  const model = makeModel(JSON.parse(byId("data").textContent));
  model.attach({ draw: () => summarize(model) });
  modelControls(byId("controls"), model);
  parallelPlot(byId("parallel"), model);
  importancePlot(byId("importance"), model);
  scatterPlot(byId("scatter"), model);
  historyPlot(byId("history"), model);
  runsTable(byId("runs"), model);
}
openPage();
