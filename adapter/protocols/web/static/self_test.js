// Self-test: a small study is sent to an AE Title over a real association, and followed to its end.

import { h, Keyed, mark, say } from "./dom.js";
import { duration, exact, plural } from "./format.js";
import { act, empty, pill } from "./ui.js";
import { inWords, toneOf } from "./words.js";

const PATH = "/api/config/claraaetitle/{}/selftest";

export class SelfTest {
  static path = PATH;

  constructor({ model, api }) {
    Object.assign(this, { model, api, association: "", jobs: new Set(), seen: 0 });
    this.choice = h("select", { id: "self-test-entity" });
    this.go = h("button", { type: "submit", class: "primary" }, "Send a small study");
    this.state = pill("");
    this.list = h("ol", { class: "story long" });
    this.keyed = new Keyed(this.list, (event) => event.seq, (event) => ({ node: h("li", { class: toneOf(event) }, h("time", { datetime: event.time }, exact(event.time)), h("span", {}), h("span", {}, inWords(event))) }));
    this.result = h("div", { class: "card" }, empty("Nothing was sent yet", "Three small instances without patient data go over a real association to the AE Title; its groups, jobs and exports are followed here. Pipelines and destinations treat them like any other study."));
    this.node = h("div", { class: "detail" },
      h("form", { class: "card filters", onsubmit: (event) => {
        event.preventDefault();
        this.run();
      } }, h("label", { for: "self-test-entity" }, "AE Title"), this.choice, this.go),
      this.result);
    this.look();
  }

  async look() {
    const rows = await this.api.get("/api/config/claraaetitle").catch(() => []);
    const all = Array.isArray(rows) ? rows : rows.items;
    this.choice.replaceChildren(...all.map((row) => h("option", { value: row.name }, `${row.name} (${row.aeTitle})`)));
  }

  async run() {
    const name = this.choice.value;
    this.go.disabled = true;
    this.seen = this.model.notes[0]?.seq ?? 0;
    this.jobs.clear();
    this.study = null;
    await act({
      question: { title: `Send a small study to ${name}?`, text: "Its pipelines run and its destinations get the results, as for any other study.", yes: "Send it" },
      does: () => this.api.request("POST", PATH.replace("{}", this.api.part(name))),
      done: (told) => {
        this.begin(name, told);
        return `${plural(told.stored, "instance")} of ${told.instances} acknowledged in ${duration(told.seconds)}.`;
      },
      failed: `Nothing was sent to ${name}`,
    });
    this.go.disabled = false;
  }

  begin(name, told) {
    this.study = told;
    this.result.replaceChildren(
      h("div", { class: "detail-head" }, h("p", {}, "To ", h("strong", { class: "mono" }, name)), this.state,
        this.api.has("get", "/api/timeline/{}") && h("a", { href: `#/study/${told.studyInstanceUid}` }, "Timeline of the study")),
      told.problems?.length ? h("ul", { class: "problems" }, told.problems.map((each) => h("li", {}, each))) : null,
      this.list);
    this.update();
  }

  /** The events since it was sent that are about its association, its groups, its jobs, their exports. */
  update() {
    if (!this.study) return;
    const steps = [];
    const groups = () => this.model.joined.get(this.association) ?? new Set();
    for (const event of [...this.model.notes].reverse()) {
      if (event.seq <= this.seen) continue;
      const of = this.study.callingAeTitle;
      if (event.type === "association.requested" && event.data.callingAeTitle === of) this.association = event.association;
      if (event.association && event.association === this.association) steps.push(event);
      else if (event.group && groups().has(event.group)) steps.push(event);
      else if (event.job && this.jobs.has(event.job)) steps.push(event);
      if (event.type === "job.opened" && groups().has(event.group)) this.jobs.add(event.job);
    }
    this.keyed.set(steps.filter((event) => inWords(event)));
    const last = steps[steps.length - 1];
    const ended = steps.some((event) => ["export.completed", "job.faulted", "export.failed"].includes(event.type));
    say(this.state, ended ? (toneOf(last) === "tone-bad" ? "something failed" : "arrived") : "on its way");
    mark(this.state, "class", `pill ${ended ? (steps.some((event) => toneOf(event) === "tone-bad") ? "bad" : "good") : "live"}`);
  }
}
