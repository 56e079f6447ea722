// The log of a run's step: its last part at once, then what is added each second; searched, followed and downloaded.
import { Terminal } from "./ansi.js";
import { get, path } from "./api.js";
import { bytes, element } from "./format.js";

const POLL_MS = 1000, MAX_LINES = 5000, NEAR_PIXELS = 40;

/** `choices` are [{step, try, label}]; `isOver()` tells whether the run has ended. Returns {choose(choices, chosen)}. */
export function logView(host, run, isOver) {
  const bar = element("div", { class: "pq-filter" });
  const which = element("select", { class: "form-select", "aria-label": "Step and attempt" });
  const search = element("input", { type: "search", class: "form-control", placeholder: "Search in the log", "aria-label": "Search in the log" });
  const followLabel = element("label", { class: "pq-follow" });
  const follow = element("input", { type: "checkbox" });
  follow.checked = true;
  followLabel.append(follow, " Follow");
  const earlier = element("button", { type: "button", class: "btn btn-sm btn-outline-secondary" }, "Show from the beginning");
  const download = element("a", { download: "" }, "Download");
  const told = element("span", { class: "pq-count", role: "status" });
  bar.append(which, search, followLabel, earlier, download, told);
  const pane = element("pre", { class: "pq-log", tabindex: "0", "aria-label": "Log" });
  host.replaceChildren(bar, pane);
  let choices = [], chosen = null, terminal = new Terminal(), next = null, first = 0, size = 0, timer = null, turn = 0, drawn = [];

  function restart(fromStart) {
    turn += 1;
    terminal = new Terminal();
    next = fromStart ? 0 : null;
    first = 0;
    drawn = [];
    pane.replaceChildren();
    clearTimeout(timer);
    if (!chosen) { told.textContent = "Nothing was printed."; return; }
    const asked = new URLSearchParams({ step: chosen.step, ...(chosen.try ? { try: chosen.try } : {}) });
    download.href = path(`/api/runs/${encodeURIComponent(run)}/log.txt?${asked}`);
    read(turn, next === null);
  }

  async function read(mine, isFirst = false) {
    try {
      const part = await get(`/api/runs/${encodeURIComponent(run)}/log`, { step: chosen.step, try: chosen.try, from: next === null ? "" : String(next) });
      if (mine !== turn) return;
      if (isFirst) first = part.from;
      const isMore = part.next > (next ?? -1);
      next = part.next;
      size = part.size;
      if (part.text) { terminal.add(part.text); draw(); }
      earlier.hidden = first === 0;
      told.textContent = first > 0 ? `the last ${bytes(size - first)} of ${bytes(size)}` : bytes(size);
      if (part.next < part.size && isMore) { read(mine); return; }
      if (part.is_over || isOver()) return;
    } catch (error) {
      if (mine !== turn) return;
      told.textContent = error.message;
    }
    timer = setTimeout(() => read(mine), POLL_MS);
  }

  function lineOf(pieces, word) {
    const line = element("div");
    for (const { text, classes } of pieces) {
      const span = element("span", classes ? { class: classes } : {});
      let at = 0;
      const lower = word ? text.toLowerCase() : "";
      for (let found = word ? lower.indexOf(word) : -1; found >= 0; found = lower.indexOf(word, at)) {
        span.append(text.slice(at, found), element("mark", {}, text.slice(found, found + word.length)));
        at = found + word.length;
      }
      span.append(text.slice(at));
      line.append(span);
    }
    if (pieces.length === 0) line.append("\u200b");
    return line;
  }

  function draw() {
    const isAtEnd = pane.scrollHeight - pane.scrollTop - pane.clientHeight < NEAR_PIXELS;
    const word = search.value.toLowerCase();
    const lines = terminal.lines.slice(-MAX_LINES).filter((pieces) => !word || pieces.some((one) => one.text.toLowerCase().includes(word)));
    const texts = lines.map((pieces) => JSON.stringify(pieces) + word);
    let same = 0;
    while (same < drawn.length && same < texts.length && drawn[same] === texts[same]) same += 1;
    while (pane.children.length > same) pane.lastChild.remove();
    for (const pieces of lines.slice(same)) pane.append(lineOf(pieces, word));
    drawn = texts;
    if (follow.checked && (isAtEnd || drawn.length === lines.length)) pane.scrollTop = pane.scrollHeight;
  }

  search.addEventListener("input", () => { drawn = []; pane.replaceChildren(); draw(); });
  earlier.addEventListener("click", () => { follow.checked = false; restart(true); });
  which.addEventListener("change", () => { chosen = choices[which.selectedIndex] ?? null; restart(false); });
  pane.addEventListener("wheel", (event) => { if (event.deltaY < 0) follow.checked = false; }, { passive: true });

  return {
    /** Offers these logs; keeps what is shown while it is among them, else shows the last one. */
    choose(offered, wanted = null) {
      const key = (one) => (one ? `${one.step} ${one.try ?? ""}` : "");
      const isSame = JSON.stringify(offered) === JSON.stringify(choices);
      const before = wanted ?? chosen;
      choices = offered;
      if (!isSame) which.replaceChildren(...choices.map((one) => element("option", {}, one.label)));
      const at = choices.findIndex((one) => key(one) === key(before));
      const now = at >= 0 ? choices[at] : choices[choices.length - 1] ?? null;
      which.selectedIndex = choices.indexOf(now);
      if (key(now) !== key(chosen)) { chosen = now; restart(false); } else if (!chosen) told.textContent = "Nothing was printed.";
    },
  };
}
