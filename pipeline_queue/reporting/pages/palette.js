// The colours of plots, read from the CSS variables of the page, so that they follow its theme.

const NAMES = ["low", "mid", "high", "none", "mark", "faint", "accent"];
const RAMP_STEPS = 32;

const parts = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

export function readPalette() {
  const style = getComputedStyle(document.documentElement);
  const palette = Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--plot-${name}`).trim()]));
  const mix = (one, other, t) => parts(one).map((part, at) => Math.round(part + (parts(other)[at] - part) * t));
  const half = RAMP_STEPS / 2, { low, mid, high } = palette;
  palette.ramp = Array.from({ length: RAMP_STEPS + 1 }, (_, at) => (at < half ? mix(low, mid, at / half) : mix(mid, high, (at - half) / half)));
  return palette;
}
const asText = (rgb) => `rgb(${rgb.join()})`;

// Of a row by its metric.
export function colourOf(model, palette) {
  const { place } = model.scaleOf(model.metric), ramp = palette.ramp.map(asText);
  return (index) => {
    const where = place(model.rows[index][model.metric.at]);
    return where === null ? palette.none : ramp[Math.round(where * RAMP_STEPS)];
  };
}
// Of a position on the metric's scale: a ground and the ink that can be read on it (4.5 to 1 at least).
export function groundAndInk(palette, where) {
  const rgb = palette.ramp[Math.round(Math.min(1, Math.max(0, where)) * RAMP_STEPS)];
  const [red, green, blue] = rgb.map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
  const light = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  return [asText(rgb), 1.05 / (light + 0.05) > (light + 0.05) / 0.05 ? "#ffffff" : "#000000"];
}

const following = new WeakSet();
// Draws the model's parts again when the system or the page changes between light and dark.
export function followTheme(model) {
  if (following.has(model)) return;
  following.add(model);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => model.changed());
  new MutationObserver(() => model.changed()).observe(document.documentElement, { attributes: true, attributeFilter: ["data-bs-theme"] });
}
