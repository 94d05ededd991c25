// Pictures of numbers: a lane of a plot, a countdown ring, a gauge, a bar of shares.

import { h, mark, s, say } from "./dom.js";
import { brief } from "./format.js";

const WIDTH = 720;
const HEIGHT = 96;

/** The next round number above a value: 1, 2, 5, 10, ... */
function ceiling(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}

/** One hour of one number: an area, its scale, and what is under the pointer. */
export class Lane {
  constructor({ title, tone, worded, bucketS }) {
    Object.assign(this, { worded, bucketS, values: [] });
    this.title = title;
    this.area = s("path", { class: `area ${tone}` });
    this.line = s("path", { class: `line ${tone}` });
    this.cursor = s("line", { class: "cursor", y1: 0, y2: HEIGHT, x1: -9, x2: -9 });
    this.top = h("span", { class: "lane-top" });
    this.reading = h("span", { class: "lane-reading" });
    const grid = [0.25, 0.5, 0.75].map((share) => s("line", { class: "grid", x1: WIDTH * share, x2: WIDTH * share, y1: 0, y2: HEIGHT }));
    this.svg = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", class: "lane-plot", "aria-label": title },
      grid, s("line", { class: "grid", x1: 0, x2: WIDTH, y1: HEIGHT / 2, y2: HEIGHT / 2 }), this.area, this.line, this.cursor);
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.point(null));
    this.node = h("figure", { class: "lane" }, h("figcaption", {}, h("span", {}, title), this.reading), h("div", { class: "lane-box" }, this.top, this.svg));
  }

  set(values) {
    this.values = values;
    const peak = Math.max(...values);
    const top = ceiling(peak);
    const step = WIDTH / (values.length - 1);
    const points = values.map((value, index) => `${(index * step).toFixed(1)},${(HEIGHT - 2 - (value / top) * (HEIGHT - 6)).toFixed(1)}`);
    mark(this.line, "d", `M${points.join("L")}`);
    mark(this.area, "d", `M0,${HEIGHT}L${points.join("L")}L${WIDTH},${HEIGHT}Z`);
    say(this.top, this.worded(top));
    mark(this.svg, "aria-label", `${this.title} in the last hour: now ${this.worded(values[values.length - 1])}, at most ${this.worded(peak)}`);
    if (!this.pointed) this.read(values.length - 1);
  }

  point(event) {
    this.pointed = event !== null;
    const last = this.values.length - 1;
    const box = this.svg.getBoundingClientRect();
    const index = event ? Math.max(0, Math.min(last, Math.round(((event.clientX - box.left) / box.width) * last))) : last;
    mark(this.cursor, "x1", event ? (index / last) * WIDTH : -9);
    mark(this.cursor, "x2", event ? (index / last) * WIDTH : -9);
    this.read(index);
  }

  read(index) {
    const ago = (this.values.length - 1 - index) * this.bucketS;
    const when = ago < 60 ? "now" : `${Math.round(ago / 60)} min ago`;
    say(this.reading, `${this.worded(this.values[index])} · ${when}`);
  }
}

const RADIUS = 15;
const ROUND = 2 * Math.PI * RADIUS;

/** How much of a time is left, as a ring with the seconds in it. */
export class Ring {
  constructor() {
    this.arc = s("circle", { class: "ring-arc", cx: 18, cy: 18, r: RADIUS, "stroke-dasharray": ROUND.toFixed(2), transform: "rotate(-90 18 18)" });
    this.text = s("text", { x: 18, y: 18, class: "ring-text" });
    this.node = s("svg", { viewBox: "0 0 36 36", class: "ring", role: "img", "aria-label": "time left" }, s("circle", { class: "ring-base", cx: 18, cy: 18, r: RADIUS }), this.arc, this.text);
  }

  /** left_s null: its end is not known. */
  set(leftS, wholeS, held) {
    const share = leftS === null ? 1 : Math.max(0, Math.min(1, leftS / Math.max(wholeS, 0.001)));
    mark(this.arc, "stroke-dashoffset", (ROUND * (1 - share)).toFixed(1));
    mark(this.node, "class", `ring ${held ? "held" : leftS === null ? "open" : share < 0.25 ? "soon" : ""}`);
    say(this.text, held ? "II" : leftS === null ? "…" : brief(leftS));
    mark(this.node, "aria-label", held ? "held" : leftS === null ? "closes when its senders have ended" : `closes in ${Math.ceil(leftS)} s`);
  }
}

/** How full something is, with a mark where it is too full. Shares of 1. */
export class Gauge {
  constructor(label) {
    this.label = label;
    this.fill = s("rect", { class: "gauge-fill", x: 0, y: 0, height: 12, width: 0 });
    this.limit = s("line", { class: "gauge-limit", y1: 0, y2: 12, x1: 300, x2: 300 });
    this.node = s("svg", { viewBox: "0 0 300 12", preserveAspectRatio: "none", class: "gauge", role: "img", "aria-label": label }, s("rect", { class: "gauge-base", width: 300, height: 12 }), this.fill, this.limit);
  }

  set(share, limit, words) {
    mark(this.fill, "width", (300 * Math.max(0, Math.min(1, share))).toFixed(1));
    mark(this.fill, "class", `gauge-fill ${share >= limit ? "bad" : share >= limit * 0.9 ? "warn" : ""}`);
    mark(this.limit, "x1", (300 * limit).toFixed(1));
    mark(this.limit, "x2", (300 * limit).toFixed(1));
    mark(this.node, "aria-label", `${this.label}: ${words}`);
  }
}

/** Shares of a whole, side by side: [{key, tone, value}]. */
export class Shares {
  constructor(label, parts) {
    this.label = label;
    this.rects = new Map(parts.map(({ key, tone }) => [key, s("rect", { class: `share ${tone}`, y: 0, height: 10 })]));
    this.node = s("svg", { viewBox: "0 0 300 10", preserveAspectRatio: "none", class: "shares", role: "img", "aria-label": label }, s("rect", { class: "gauge-base", width: 300, height: 10 }), [...this.rects.values()]);
  }

  set(values) {
    const whole = [...values.values()].reduce((sum, value) => sum + value, 0);
    let x = 0;
    for (const [key, rect] of this.rects) {
      const width = whole ? (300 * (values.get(key) ?? 0)) / whole : 0;
      mark(rect, "x", x.toFixed(1));
      mark(rect, "width", Math.max(width, 0).toFixed(1));
      x += width;
    }
    mark(this.node, "aria-label", `${this.label}: ${[...values].map(([key, value]) => `${value} ${key}`).join(", ")}`);
  }
}
