// Makes elements, shows values as text, and keeps the focus and the width when a part is drawn again.

const SVG = "http://www.w3.org/2000/svg";

function filled(made, attributes, text) {
  for (const [key, value] of Object.entries(attributes)) if (value !== null && value !== undefined) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
}
export function element(name, attributes = {}, text = null) {
  return filled(document.createElement(name), attributes, text);
}
export function drawn(name, attributes = {}, text = null) {
  return filled(document.createElementNS(SVG, name), attributes, text);
}
export const isNumber = (value) => typeof value === "number";
export const cut = (text, most) => (text.length > most ? text.slice(0, Math.max(1, most - 1)) + "…" : text);
export const grouped = (count) => count.toLocaleString("en");
export const counted = (count, one, many = `${one}s`) => `${grouped(count)} ${count === 1 ? one : many}`;

export function shown(value, column) {
  if (value === null || value === undefined) return "–";
  if (!isNumber(value)) return String(value);
  if (column.name === "seconds") return value.toFixed(2);
  return column.kind === "metric" ? String(Number(value.toPrecision(6))) : String(value);
}

// A form's field below its label; `field` is an input or a select.
export function labelled(text, field, isCheck = false) {
  const label = element("label", isCheck ? { class: "check" } : {});
  label.append(...(isCheck ? [field, ` ${text}`] : [`${text} `, field]));
  return label;
}
// A form that is never sent.
export function quietForm() {
  const form = element("form", { class: "controls" });
  form.addEventListener("submit", (event) => event.preventDefault());
  return form;
}
// Lets a list choose among these columns; a list that is open stays as it is while nothing changes.
export function offer(select, columns, chosen) {
  const names = columns.map((column) => column.name);
  if (names.join("\n") !== [...select.options].map((option) => option.value).join("\n"))
    select.replaceChildren(...names.map((name) => element("option", { value: name }, cut(name, 40))));
  if (select.value !== chosen.name) select.value = chosen.name;
}

// Two canvases above each other: what is drawn, and what is lit on top of it.
export function canvases(parent, width, height) {
  return [0, 1].map(() => {
    const canvas = element("canvas", { "aria-hidden": "true" }), ratio = window.devicePixelRatio || 1;
    Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    parent.append(canvas);
    return context;
  });
}
export const wipe = (context) => context.clearRect(0, 0, context.canvas.width, context.canvas.height);

// Does the work and gives the focus back to the element with the same `data-key`, which may be a new one.
export function keepFocus(root, work) {
  const key = root.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  work();
  if (key === undefined || root.contains(document.activeElement)) return;
  [...root.querySelectorAll("[data-key]")].find((one) => one.dataset.key === key)?.focus({ preventScroll: true });
}

// Acts in the next frame after the node has become wider or narrower.
export function onWidth(node, act) {
  let width = node.clientWidth, isWaiting = false;
  new ResizeObserver(() => {
    if (isWaiting || node.clientWidth === width) return;
    isWaiting = true;
    requestAnimationFrame(() => {
      isWaiting = false;
      width = node.clientWidth;
      if (width > 0) act();
    });
  }).observe(node);
}
