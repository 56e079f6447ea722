// Talks to the server for every page: JSON, live events, and what a person is told about both.
import { element } from "./format.js";

const shell = document.getElementById("page");
export const page = {
  prefix: shell.dataset.prefix, kind: shell.dataset.kind, id: shell.dataset.id,
  mayAct: shell.dataset.mayAct === "yes", whyNot: shell.dataset.whyNot, host: shell,
};
const TOAST_MS = 8000, FIRST_POLL_MS = 2000;

export const path = (text) => `${page.prefix}${text}`;
// Whole, and without the name and password that a link may carry: no request can be made from an address with them.
const address = (text) => `${location.protocol}//${location.host}${path(text)}`;

/** Keeps a page's filter in its address. */
export function remember(values) {
  const asked = new URLSearchParams(location.search);
  for (const [key, value] of Object.entries(values)) value ? asked.set(key, value) : asked.delete(key);
  try {
    history.replaceState(null, "", location.pathname + (asked.size ? `?${asked}` : "") + location.hash);
  } catch {
    // A browser that was opened by a link with a password may refuse this.
  }
}
export const sweepPage = (id) => path(`/sweeps/${encodeURIComponent(id)}`);
export const runPage = (id) => path(`/runs/${encodeURIComponent(id)}`);

/** The JSON of an answer. Throws an Error with the server's sentence; `problems` and `status` hang on it. */
async function answerOf(asked) {
  let answer;
  try {
    answer = await asked;
  } catch {
    throw Object.assign(new Error("Flower does not answer."), { status: 0 });
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(body.error ?? `The server answered ${answer.status}.`), { status: answer.status, problems: body.problems });
  return body;
}

export function get(where, parameters = {}) {
  const asked = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== "" && value !== null && value !== undefined));
  return answerOf(fetch(address(where) + (asked.size ? `?${asked}` : ""), { headers: { Accept: "application/json" } }));
}

export function post(where, body = {}) {
  const token = document.cookie.split("; ").find((one) => one.startsWith("_xsrf="))?.slice(6) ?? "";
  const headers = { "Content-Type": "application/json", "X-XSRFToken": decodeURIComponent(token).replaceAll('"', "") };
  return answerOf(fetch(address(where), { method: "POST", headers, body: JSON.stringify(body) }));
}

/** Calls `onState` with the thing's state now and after every change, until the page closes. Events, else polling. */
export function live(topic, onState, fallback) {
  let events = null, timer = null, failures = 0;
  const show = (state) => { problem(""); onState(state); };
  const poll = async () => {
    try { show(await fallback()); } catch (error) { problem(error.message); }
    timer = setTimeout(poll, FIRST_POLL_MS);
  };
  const open = () => {
    events = new EventSource(address(`/api/events?topic=${encodeURIComponent(topic)}`));
    events.addEventListener("state", (event) => { failures = 0; show(JSON.parse(event.data)); });
    events.addEventListener("problem", (event) => problem(JSON.parse(event.data).error));
    events.onerror = () => {
      failures += 1;
      problem("Flower does not answer; this page shows what it knew and tries again.");
      if (failures >= 3 && fallback) { close(); poll(); }
    };
  };
  const close = () => { events?.close(); events = null; clearTimeout(timer); };
  // A hidden page asks for nothing; it catches up when it is looked at again.
  document.addEventListener("visibilitychange", () => { close(); if (!document.hidden) { failures = 0; open(); } });
  if (!document.hidden) open();
  return close;
}

export function problem(text) {
  const banner = document.getElementById("pq-problem");
  banner.hidden = !text;
  if (banner.textContent !== text) banner.textContent = text;
}

export function say(text, kind = "good") {
  const toast = element("div", { class: `pq-toast pq-${kind}` }, text);
  document.getElementById("pq-toasts").append(toast);
  setTimeout(() => toast.remove(), TOAST_MS);
}

/** Asks before something happens; with `word`, that must be typed. Resolves to whether it may. */
export function confirmed(question, action, word = null) {
  const dialog = element("dialog", { class: "pq-dialog", "aria-labelledby": "pq-question" });
  const form = element("form", { method: "dialog" });
  form.append(element("p", { id: "pq-question" }, question));
  const go = element("button", { class: "btn btn-danger", value: "yes" }, action);
  if (word) {
    const label = element("label", {}, `Type ${word} to confirm`);
    const field = element("input", { class: "form-control", autocomplete: "off" });
    go.disabled = true;
    field.addEventListener("input", () => { go.disabled = field.value !== word; });
    label.append(field);
    form.append(label);
  }
  const buttons = element("div", { class: "pq-buttons" });
  buttons.append(element("button", { class: "btn btn-outline-secondary", value: "no", formnovalidate: "" }, "Keep it as it is"), go);
  form.append(buttons);
  dialog.append(form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((done) => dialog.addEventListener("close", () => { dialog.remove(); done(dialog.returnValue === "yes"); }));
}
