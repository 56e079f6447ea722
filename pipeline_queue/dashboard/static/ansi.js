// Turns what a program printed for a terminal into lines of plain pieces with style classes; everything else it sends is dropped.
const NAMES = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
// Sequences: CSI (with its parameters and last letter), OSC until BEL or ST, and two-character ones.
const SEQUENCE = /\x1b\[([0-9;:]*)[ -/]*([@-~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?/g;
const CONTROL = /[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]/g;
const MAX_PIECES = 200;

/** Adds text as it comes; `lines` are arrays of {text, classes}. A carriage return starts its line again. */
export class Terminal {
  constructor() {
    this.lines = [[]];
    this.held = "";
    this.style = { bold: false, dim: false, italic: false, underline: false, colour: null };
    this.restarts = false;
  }

  add(text) {
    let rest = this.held + text;
    // A sequence that has only begun waits for its end.
    const begun = rest.lastIndexOf("\x1b");
    this.held = "";
    if (begun >= 0 && rest.length - begun < 64 && !new RegExp(SEQUENCE.source).exec(rest.slice(begun))?.[2] && /^\x1b(\[[0-9;:]*)?$/.test(rest.slice(begun))) {
      this.held = rest.slice(begun);
      rest = rest.slice(0, begun);
    }
    let at = 0;
    for (const found of rest.matchAll(SEQUENCE)) {
      this.write(rest.slice(at, found.index));
      if (found[2] === "m") this.restyle(found[1]);
      else if (found[2] === "K") this.erase();
      at = found.index + found[0].length;
    }
    this.write(rest.slice(at));
  }

  write(text) {
    for (const part of text.split(/(\r\n|\n|\r)/)) {
      if (part === "\n" || part === "\r\n") { this.lines.push([]); this.restarts = false; }
      else if (part === "\r") this.restarts = true;
      else if (part) {
        if (this.restarts) { this.erase(); this.restarts = false; }
        const clean = part.replace(CONTROL, "");
        const line = this.lines[this.lines.length - 1], classes = this.classes(), last = line[line.length - 1];
        if (last && last.classes === classes) last.text += clean;
        else if (line.length < MAX_PIECES) line.push({ text: clean, classes });
        else line[line.length - 1].text += clean;
      }
    }
  }

  erase() { this.lines[this.lines.length - 1].length = 0; }

  restyle(parameters) {
    const codes = parameters.split(/[;:]/).map((one) => Number(one) || 0);
    for (let at = 0; at < codes.length; at++) {
      const code = codes[at];
      if (code === 0) this.style = { bold: false, dim: false, italic: false, underline: false, colour: null };
      else if (code === 1) this.style.bold = true;
      else if (code === 2) this.style.dim = true;
      else if (code === 3) this.style.italic = true;
      else if (code === 4) this.style.underline = true;
      else if (code === 22) this.style.bold = this.style.dim = false;
      else if (code === 23) this.style.italic = false;
      else if (code === 24) this.style.underline = false;
      else if (code >= 30 && code <= 37) this.style.colour = NAMES[code - 30];
      else if (code >= 90 && code <= 97) this.style.colour = NAMES[code - 90];
      else if (code === 39) this.style.colour = null;
      else if (code === 38 || code === 48) {
        if (codes[at + 1] === 5 && code === 38) this.style.colour = codes[at + 2] < 16 ? NAMES[codes[at + 2] % 8] : null;
        at += codes[at + 1] === 5 ? 2 : codes[at + 1] === 2 ? 4 : 0;
      }
    }
  }

  classes() {
    const { bold, dim, italic, underline, colour } = this.style;
    return [bold && "pq-bold", dim && "pq-dim", italic && "pq-italic", underline && "pq-under", colour && `pq-ansi-${colour}`].filter(Boolean).join(" ");
  }
}
