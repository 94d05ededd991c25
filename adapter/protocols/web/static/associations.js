// Open associations: who sends to whom, how much, how fast; an operator may abort one.

import { h, say, show } from "./dom.js";
import { bytes, count, duration, plural, rate } from "./format.js";
import { icon } from "./icons.js";
import { act, button, card, empty, Table } from "./ui.js";

const ROUTE = "/api/associations/{}";
const WINDOW_MS = 4000;

export class OpenAssociations {
  constructor({ model, api }) {
    Object.assign(this, { model, api });
    this.speeds = new Map();
    const none = empty("Nobody is sending", "Associations appear here as soon as a sender opens one.");
    const columns = [
      { title: "From", head: true, cell: (row) => this.who(row) },
      { title: "To", class: "mono", text: (row) => row.aeTitle || "–" },
      { title: "Instances", class: "num", cell: () => this.instances() },
      { title: "Data", class: "num", text: (row) => bytes(row.bytes) },
      { title: "MB/s", class: "num", text: (row) => rate(this.speed(row) / 1e6) },
      { title: "Contexts", class: "num wide-only", text: (row) => count(row.contexts) },
      { title: "Age", class: "num", text: (row) => duration(Math.floor((model.now() - Date.parse(row.openedAt)) / 1000)) },
    ];
    if (api.has("delete", ROUTE)) columns.push({ title: "", class: "act", cell: (row) => ({ node: button("Abort", this.of(row), () => this.abort(row), "small danger") }) });
    this.table = new Table({ caption: "Open associations", columns, keyOf: (row) => row.id, size: 20, none });
    const { node, aside } = card("Open associations", { class: "wide" }, this.table.node);
    this.aside = aside;
    this.node = node;
  }

  of(row) {
    return `association from ${row.callingAeTitle || "unknown"}`;
  }

  who(row) {
    const node = h("span", { class: "who" }, h("strong", { class: "mono" }, row.callingAeTitle || "–"), h("span", { class: "muted" }, row.peer ?? ""), row.tls ? icon("lock", row.tls) : null);
    return { node };
  }

  instances() {
    const stored = h("span");
    const refused = h("span", { class: "tone-bad" });
    return { node: h("span", {}, stored, refused), update: (row) => {
      say(stored, count(row.stored));
      say(refused, row.refused ? ` +${count(row.refused)} refused` : "");
    } };
  }

  /** Bytes per second over the last few seconds. */
  speed(row) {
    const samples = this.speeds.get(row.id) ?? [];
    if (samples.length < 2) return 0;
    const [first, last] = [samples[0], samples[samples.length - 1]];
    return ((last[1] - first[1]) * 1000) / Math.max(last[0] - first[0], 1);
  }

  sample(rows) {
    const now = performance.now();
    const old = this.speeds;
    this.speeds = new Map(rows.map((row) => [row.id, [...(old.get(row.id) ?? []).filter(([at]) => at > now - WINDOW_MS), [now, row.bytes]]]));
  }

  rows() {
    return this.model.rows("associations").filter((row) => row.state === "accepted" || row.state === "requested");
  }

  update(topics) {
    if (["hello", "association", "instance"].some((topic) => topics.has(topic))) this.draw();
  }

  draw() {
    const rows = this.rows().sort((a, b) => b.bytes - a.bytes);
    this.table.set(rows);
    show(this.aside, rows.length > 0);
    say(this.aside, plural(rows.length, "association"));
  }

  tick(ticks) {
    if (ticks % 4) return;
    this.sample(this.rows());
    this.draw();
  }

  abort(row) {
    return act({
      question: {
        title: `Abort the association from ${row.callingAeTitle}?`,
        text: `The sender hears A-ABORT. What was acknowledged is kept (${plural(row.stored, "instance")}); what is on its way is lost here and the sender has to send it again.`,
        yes: "Abort it",
        danger: true,
      },
      does: () => this.api.request("DELETE", `/api/associations/${this.api.part(row.id)}`),
      done: `The association from ${row.callingAeTitle} is aborted.`,
      failed: "It was not aborted",
    });
  }
}
