// Pictures of a study's instances, one at a time and only when asked for: each is in the audit trail.
// Drawn on a canvas, so the page's policy needs to allow no address for images but its own.

import { h, mark, say, show } from "./dom.js";
import { bytes, count, plural, short } from "./format.js";
import { button, card } from "./ui.js";

const INSTANCES_MAX = 1000;

export class Pictures {
  constructor({ api, uid }) {
    Object.assign(this, { api, uid, series: [], at: 0, asked: 0 });
    this.choice = h("select", { id: "picture-series", onchange: () => this.turnTo(this.middle()) });
    this.choiceField = h("p", { class: "line" }, h("label", { for: "picture-series" }, "Series"), this.choice);
    this.canvas = h("canvas", { role: "img", "aria-labelledby": "picture-caption", width: "0", height: "0" });
    this.caption = h("figcaption", { class: "muted", id: "picture-caption" });
    this.trouble = h("p", { class: "tone-bad", role: "status" });
    this.back = button("Previous", "instance", () => this.turnTo(this.at - 1), "small");
    this.first = button("Show a picture", "", () => this.turnTo(this.middle()));
    this.next = button("Next", "instance", () => this.turnTo(this.at + 1), "small");
    const figure = h("figure", { class: "picture" }, this.canvas, this.caption);
    const { node, aside } = card("Pictures", {}, h("div", { class: "pictures" },
      h("p", { class: "muted" }, "They show the patient and are not for diagnosis. Whoever looks at one is in the audit trail."),
      this.choiceField, h("p", { class: "line" }, this.first, this.back, this.next), this.trouble, figure));
    this.aside = aside;
    this.node = node;
    for (const part of [this.canvas, this.back, this.next, this.choiceField]) show(part, false);
    this.look();
  }

  path() {
    return `/api/studies/${this.api.part(this.uid)}/instances`;
  }

  async look() {
    try {
      const { body, headers } = await this.api.getWhole(`${this.path()}?limit=${INSTANCES_MAX}`);
      const series = new Map();
      for (const row of body) {
        if (!series.has(row.seriesInstanceUid)) series.set(row.seriesInstanceUid, []);
        series.get(row.seriesInstanceUid).push(row);
      }
      this.series = [...series.values()];
      this.choice.replaceChildren(...[...series].map(([uid, rows], index) => h("option", { value: index, title: uid }, `${short(uid)}, ${plural(rows.length, "instance")}`)));
      show(this.choiceField, this.series.length > 1);
      say(this.aside, plural(Number(headers.get("X-Total-Count")), "instance"));
    } catch (error) {
      if (!(error instanceof this.api.Problem)) throw error;
      show(this.first, false);
      say(this.trouble, error.message);
    }
  }

  rows() {
    return this.series[Number(this.choice.value)] ?? [];
  }

  middle() {
    return Math.floor((this.rows().length - 1) / 2);
  }

  async turnTo(index) {
    const rows = this.rows();
    if (!rows[index]) return;
    this.at = index;
    const asked = ++this.asked;
    show(this.first, false);
    for (const [part, there] of [[this.back, index > 0], [this.next, index < rows.length - 1]]) {
      show(part, true);
      mark(part, "disabled", !there);
    }
    const { sopInstanceUid, bytes: size } = rows[index];
    const words = `Instance ${count(index + 1)} of ${count(rows.length)}, ${bytes(size)}: ${sopInstanceUid}`;
    say(this.caption, `${words} ...`);
    try {
      const blob = await this.api.blob(`${this.path()}/${this.api.part(sopInstanceUid)}/preview`, "image/png");
      const bitmap = await createImageBitmap(blob);
      if (asked === this.asked) this.draw(bitmap, "");
    } catch (error) {
      if (!(error instanceof this.api.Problem)) throw error;
      if (asked === this.asked) this.draw(null, error.message);
    }
    if (asked === this.asked) say(this.caption, words);
  }

  draw(bitmap, trouble) {
    say(this.trouble, trouble);
    show(this.canvas, bitmap !== null);
    if (!bitmap) return;
    Object.assign(this.canvas, { width: bitmap.width, height: bitmap.height });
    this.canvas.getContext("2d").drawImage(bitmap, 0, 0);
  }
}
