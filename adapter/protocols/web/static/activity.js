// The latest events in words, newest first.

import { h, Keyed, show } from "./dom.js";
import { clock } from "./format.js";
import { IN_PASSING, inWords, toneOf } from "./words.js";
import { card, empty } from "./ui.js";

const SHOWN = 14;

export class Activity {
  constructor({ model }) {
    this.model = model;
    this.list = h("ol", { class: "activity" });
    this.none = empty("Quiet so far", "What happens is told here, line by line.");
    this.keyed = new Keyed(this.list, (event) => event.seq, (event) => ({
      node: h("li", { class: toneOf(event) }, h("time", { datetime: event.time }, clock(event.time)), h("span", {}, inWords(event))),
    }));
    this.node = card("Latest", { class: "last" }, this.none, this.list).node;
  }

  update(_topics) {
    const notes = this.model.notes.filter((event) => inWords(event) && !IN_PASSING.has(event.type)).slice(0, SHOWN);
    this.keyed.set(notes);
    show(this.none, notes.length === 0);
  }
}
