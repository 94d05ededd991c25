// Exports by destination: whether it takes them, what waits, what was given up. Hold and go on.

import { h, say, show } from "./dom.js";
import { clock, count } from "./format.js";
import { act, button, card, empty, setPill, pill, Table } from "./ui.js";

const AGAIN_MS = 1000;
const TONES = { up: "good", down: "bad", held: "warn", unknown: "" };
const sum = (exports, ...states) => states.reduce((all, state) => all + (exports[state] ?? 0), 0);

export class Destinations {
  constructor({ model, api }) {
    Object.assign(this, { model, api, asked: 0, timer: 0, rows: [] });
    const none = empty("No destination is configured", "Results stay in the job's folder until there is one.", h("p", {}, h("a", { href: "#/setup/destinations" }, "Set one up")));
    const exported = (title, tone, ...states) => ({ title, class: "num", cell: (row) => {
      const node = h("a", { href: `#/exports?destination=${encodeURIComponent(row.name)}&state=${states[0]}` });
      return { node, update: (now) => {
        const number = sum(now.exports, ...states);
        say(node, count(number));
        node.className = number && tone ? `tone-${tone}` : number ? "" : "muted";
      } };
    } });
    this.table = new Table({
      caption: "Exports by destination", none, size: 30, keyOf: (row) => row.name,
      columns: [
        { title: "Destination", head: true, class: "health-cell", cell: (row) => this.health(row) },
        exported("Waiting", "", "Queued"),
        exported("Sending", "", "Sending", "Sent", "Committing"),
        exported("Done", "", "Completed"),
        exported("Failed", "bad", "Failed"),
        ...(api.has("post", "/api/destinations/{}/hold") ? [{ title: "", class: "act", cell: (row) => this.acts(row) }] : []),
      ],
    });
    const { node } = card("Destinations", { class: "wide" }, this.table.node);
    this.node = node;
  }

  health({ name }) {
    const state = pill("");
    const why = h("span", { class: "muted small-text reason" });
    return { node: h("span", { class: "stack" }, h("span", { class: "who" }, h("span", { class: "mono" }, name), state), why), update: (row) => {
      setPill(state, row.state === "unknown" ? "not tried yet" : row.state, TONES[row.state]);
      const told = this.model.sections.destinations.get(row.name) ?? {};
      const next = row.state === "down" && told.againAt ? `again at ${clock(told.againAt)}` : "";
      say(why, [row.why, row.heldAt && `since ${clock(row.heldAt)}`, next].filter(Boolean).join(" · "));
      show(why, why.textContent !== "");
    } };
  }

  acts(row) {
    const hold = button("Hold", row.name, () => this.hold(row.name), "small");
    const release = button("Go on", `with ${row.name}`, () => this.release(row.name), "small primary");
    return { node: h("span", {}, hold, release), update: (now) => {
      show(hold, now.state !== "held");
      show(release, now.state === "held");
    } };
  }

  update(topics) {
    if (["hello", "export", "destination", "config"].some((topic) => topics.has(topic))) this.soon();
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
    try {
      this.table.set(await this.api.get("/api/destinations"));
    } catch (error) {
      if (!(error instanceof this.api.Problem)) throw error; // the next event asks again
    } finally {
      this.timer = 0;
    }
  }

  hold(name) {
    return act({
      question: {
        title: `Hold ${name}?`,
        text: "Nothing is sent there until somebody goes on; exports wait. What is being sent stops after the batch in hand.",
        yes: "Hold it",
        fields: [{ name: "why", label: "Why (for whoever finds it so)", input: { maxlength: "256", autocomplete: "off" } }],
      },
      does: ({ why }) => this.api.request("POST", `/api/destinations/${this.api.part(name)}/hold`, { why }),
      done: `${name} is held.`,
      failed: `${name} is not held`,
    }).then(() => this.look());
  }

  release(name) {
    return act({
      does: () => this.api.request("POST", `/api/destinations/${this.api.part(name)}/release`),
      done: `Exports to ${name} go on.`,
      failed: `${name} is still held`,
    }).then(() => this.look());
  }
}
