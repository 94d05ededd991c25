// Study: everything that happened to one study, from A-ASSOCIATE to stored at the destination.

import { h } from "./dom.js";
import { duration, exact, plural, short } from "./format.js";
import { Pictures } from "./pictures.js";
import { copyable, empty, tell } from "./ui.js";
import { inWords, toneOf } from "./words.js";

const ROUTE = "/api/timeline/{}";
const PREVIEW = "/api/studies/{}/instances/{}/preview";
const UID = /^[0-9]+(\.[0-9]+)*$/;

/** What the logs name it by. */
function ids({ association, group }) {
  const shown = [["association", association], ["group", group]].filter(([, id]) => id);
  return shown.length > 0 && h("span", { class: "ids" }, shown.map(([label, id]) => copyable(id, label)));
}

export class Study {
  constructor({ model, api, path }) {
    Object.assign(this, { model, api });
    [this.uid] = path;
    this.input = h("input", { type: "search", class: "mono", placeholder: "1.2.840.113619…", maxlength: "64", autocomplete: "off", value: this.uid ?? "", id: "study-uid" });
    const form = h("form", { class: "card filters", onsubmit: (event) => {
      event.preventDefault();
      this.go(this.input.value.trim());
    } }, h("label", { for: "study-uid" }, "Study Instance UID"), this.input, h("button", { type: "submit", class: "primary" }, "Follow it"));
    this.result = h("div", { class: "card" });
    this.node = h("div", { class: "detail" }, form, this.result);
    if (!this.uid) this.result.append(empty("Follow a study", "One line for each thing that happened to it: who sent it, which group it joined, what its jobs did, and where its results went."));
  }

  go(uid) {
    if (UID.test(uid)) location.hash = `#/study/${uid}`;
    else tell("A UID has digits and dots, for example 1.2.840.10008.", "bad");
  }

  update(topics) {
    if (this.uid && !this.asked) {
      this.asked = true;
      this.look();
    } else if (this.uid && !this.timer && ["job", "export", "group"].some((topic) => topics.has(topic))) {
      this.timer = setTimeout(() => this.look(), 1500);
    }
  }

  leave() {
    clearTimeout(this.timer);
  }

  async look() {
    if (!this.api.has("get", ROUTE)) {
      this.result.replaceChildren(empty("No timeline here", "This adapter does not keep one."));
      return;
    }
    try {
      const told = await this.api.get(`/api/timeline/${this.api.part(this.uid)}`);
      this.draw(told);
      if (told.previews) this.showPictures();
    } catch (error) {
      if (!(error instanceof this.api.Problem)) throw error;
      this.result.replaceChildren(empty(error.status === 404 ? "Nothing is known of this study" : "It cannot be shown", error.status === 404 ? "Either it never came, or its jobs have been reclaimed." : error.message));
    } finally {
      this.timer = 0;
    }
  }

  showPictures() {
    if (this.pictures || this.api.who().role === "viewer" || !this.api.has("get", PREVIEW)) return;
    this.pictures = new Pictures({ api: this.api, uid: this.uid });
    this.node.append(this.pictures.node);
  }

  draw({ entries, complete, forgotten, jobs, exports }) {
    const steps = entries.map((entry) => ({ ...entry, type: entry.what, time: entry.at, data: entry.data ?? {} }));
    const links = [
      ...jobs.map((id) => h("a", { href: `#/jobs/${this.api.part(id)}`, class: "mono", title: id }, short(id))),
      ...exports.map((id) => h("a", { href: `#/exports/${this.api.part(id)}`, class: "mono", title: id }, short(id))),
    ];
    const took = steps.length ? (Date.parse(steps[steps.length - 1].at) - Date.parse(steps[0].at)) / 1000 : 0;
    this.result.replaceChildren(
      h("div", { class: "detail-head" }, h("p", { class: "mono id" }, this.uid), h("span", { class: "muted" }, `${plural(steps.length, "step")} in ${duration(took)}${complete ? "" : ", and more"}`)),
      h("p", { class: "line" }, links),
      forgotten.length ? h("p", { class: "muted" }, "Who brought it is not known any more: the adapter was started after it, or thousands of groups came.") : "",
      h("ol", { class: "story long" }, steps.map((step, index) => this.step(step, steps[index - 1]))),
    );
  }

  step(step, before) {
    const since = before ? (Date.parse(step.at) - Date.parse(before.at)) / 1000 : 0;
    return h("li", { class: toneOf(step) }, h("time", { datetime: step.at }, exact(step.at)), h("span", { class: "muted num" }, since >= 0.001 ? `+${duration(since)}` : ""), h("span", {}, inWords(step) || step.what, ids(step)));
  }
}
