// Jobs by state: what the ledger holds, as /metrics counts it.

import { Shares } from "./charts.js";
import { h, say } from "./dom.js";
import { count, plural } from "./format.js";
import { card } from "./ui.js";

const AGAIN_MS = 2000;
const PHASES = [
  ["Queued", "quiet", ["Queued"]],
  ["Preparing", "info", ["Creating", "Created", "MetadataUploading", "MetadataUploaded", "PayloadUploading", "PayloadUploaded"]],
  ["Running", "live", ["Starting"]],
  ["Completed", "good", ["Completed"]],
  ["Faulted", "bad", ["Faulted"]],
  ["Cancelled", "warn", ["Cancelled"]],
];

export class JobStates {
  constructor({ api }) {
    this.api = api;
    this.shares = new Shares("Jobs", PHASES.map(([key, tone]) => ({ key, tone })));
    this.numbers = new Map(PHASES.map(([key]) => [key, h("strong", {}, "–")]));
    const legend = h("ul", { class: "legend" }, PHASES.map(([key, tone, states]) => h("li", {},
      h("a", { href: `#/jobs?state=${states.length === 1 ? states[0] : ""}` }, h("span", { class: `dot ${tone}`, "aria-hidden": "true" }), h("span", {}, key), this.numbers.get(key)))));
    const { node, aside } = card("Jobs", {}, this.shares.node, legend);
    Object.assign(this, { node, aside, asked: 0, timer: 0 });
  }

  update(topics) {
    if (topics.has("hello") || topics.has("job") || topics.has("storage")) this.soon();
  }

  soon() {
    if (this.timer) return;
    this.timer = setTimeout(() => this.look(), Math.max(0, this.asked + AGAIN_MS - Date.now()));
  }

  leave() {
    clearTimeout(this.timer);
  }

  async look() {
    this.asked = Date.now();
    let exposition;
    try {
      exposition = await this.api.text("/metrics");
    } catch {
      return;
    } finally {
      this.timer = 0;
    }
    const counts = this.api.metric(exposition, "dicom_adapter_jobs");
    const values = new Map(PHASES.map(([key, , states]) => [key, states.reduce((sum, state) => sum + (counts.get(state) ?? 0), 0)]));
    this.shares.set(values);
    for (const [key, value] of values) say(this.numbers.get(key), count(value));
    say(this.aside, `${plural([...values.values()].reduce((a, b) => a + b, 0), "job")} in the ledger`);
  }
}
