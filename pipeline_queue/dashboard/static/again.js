// The form that starts a run again with changed values: a field per parameter by its type, each problem at its field.
import { post } from "./api.js";
import { element } from "./format.js";

export function againForm(run, onStarted) {
  const form = element("form", { class: "pq-card", novalidate: "" });
  const fields = new Map();
  for (const one of run.declared) {
    const id = `again-${fields.size}`, value = run.parameters[one.name];
    const box = element("div", { class: "pq-field" }), label = element("label", { for: id }, one.name);
    const hint = [one.type, one.min !== null ? `at least ${one.min}` : "", one.max !== null ? `at most ${one.max}` : "", one.help].filter(Boolean).join(", ");
    let field;
    if (one.choices.length || one.type === "bool") {
      field = element("select", { class: "form-select", id });
      for (const choice of one.choices.length ? one.choices : ["true", "false"]) field.append(element("option", { value: String(choice) }, String(choice)));
    } else field = element("input", { class: "form-control", id, type: "text", inputmode: one.type === "int" || one.type === "float" ? "decimal" : "text" });
    field.value = value === undefined || value === null ? "" : String(value);
    const wrong = element("small", { class: "pq-wrong", id: `${id}-wrong`, role: "alert" });
    field.setAttribute("aria-describedby", `${id}-hint ${id}-wrong`);
    box.append(label, field, element("small", { id: `${id}-hint` }, hint), wrong);
    form.append(box);
    fields.set(one.name, { field, wrong, before: field.value });
  }
  const problems = element("p", { class: "pq-wrong", role: "alert" });
  form.append(problems, element("button", { class: "btn btn-primary" }, "Start run"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problems.textContent = "";
    for (const { field, wrong } of fields.values()) { wrong.textContent = ""; field.removeAttribute("aria-invalid"); }
    // What was not touched is sent as it was, so that no value changes on its way through a text field.
    const values = Object.fromEntries([...fields].map(([name, { field, before }]) => [name, field.value === before ? run.parameters[name] : field.value]));
    try {
      onStarted((await post(`/api/runs/${encodeURIComponent(run.run)}/again`, { values })).run);
    } catch (error) {
      for (const one of error.problems ?? []) {
        const known = fields.get(one.parameter);
        if (known) { known.wrong.textContent = one.problem; known.field.setAttribute("aria-invalid", "true"); } else problems.textContent += `${one.problem} `;
      }
      if (!error.problems?.length) problems.textContent = error.message;
      form.querySelector('[aria-invalid="true"]')?.focus();
    }
  });
  return form;
}
