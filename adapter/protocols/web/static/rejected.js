// Rejected: who was refused, by which rule, what can be done about it, and letting a sender in.

import { h, say, show } from "./dom.js";
import { clock, count, plural } from "./format.js";
import { act, button, card, empty, Table } from "./ui.js";
import { rejection } from "./words.js";

const ALLOW = "/api/associations/{}/allow";
const AGAIN_MS = 1500;

const rule = (row) => row.why?.words ?? row.why ?? "";

/** Rows by who and why, however often they came; the server's own grouping where it has one. */
function grouped(rows) {
  const kinds = new Map();
  for (const row of rows) {
    const kind = [row.callingAeTitle, row.peer, row.aeTitle, rule(row)].join("\n");
    const at = row.changedAt;
    const old = kinds.get(kind);
    if (!old) {
      kinds.set(kind, { ...row, kind, count: row.count ?? 1, lastAt: at });
    } else {
      old.count += row.count ?? 1;
      if (at >= old.lastAt) Object.assign(old, { ...row, kind, count: old.count, lastAt: at });
    }
  }
  return [...kinds.values()].sort((a, b) => (a.lastAt < b.lastAt ? 1 : -1));
}

export class Rejected {
  constructor({ model, api }) {
    Object.assign(this, { model, api, asked: 0, timer: 0, told: null });
    const none = empty("Nobody was rejected", "Each association that is refused is listed here with the rule that refused it, so that a misconfigured sender does not look like a network fault.");
    this.table = new Table({
      caption: "Rejected associations", none, size: 50, keyOf: (row) => row.kind,
      columns: [
        { title: "From", head: true, cell: (row) => ({ node: h("span", { class: "stack" }, h("strong", { class: "mono" }, row.callingAeTitle || "no AE Title"), h("span", { class: "muted" }, row.peer ?? "")) }) },
        { title: "To", class: "mono", text: (row) => row.aeTitle || "–" },
        { title: "Why", class: "text", cell: () => this.why() },
        { title: "Times", class: "num", text: (row) => count(row.count) },
        { title: "Last", class: "num", text: (row) => clock(row.lastAt) },
        { title: "", class: "act", cell: (row) => this.allow(row) },
      ],
    });
    const { node, aside } = card("Refused associations", {}, this.table.node);
    Object.assign(this, { aside, node });
  }

  why() {
    const words = h("strong");
    const detail = h("span", { class: "muted" });
    const remedy = h("span", { class: "remedy" });
    return { node: h("span", { class: "stack" }, words, detail, remedy), update: (row) => {
      say(words, rule(row));
      const why = row.why?.words ? row.why : row; // an event has the words alone
      say(detail, [why.detail, rejection(why) && `refused ${rejection(why)}`].filter(Boolean).join(" · "));
      say(remedy, why.remedy);
      show(remedy, Boolean(why.remedy));
    } };
  }

  allow(row) {
    const node = button("Allow this sender", `${row.callingAeTitle} at ${row.peer}`, () => this.let(row), "small primary");
    const may = this.api.has("post", ALLOW);
    return { node, update: (now) => show(node, may && Boolean(now.mayBeAllowed)) };
  }

  update(topics) {
    if (topics.has("hello") || topics.has("association")) {
      this.draw();
      if (!this.timer) this.timer = setTimeout(() => this.look(), Math.max(0, this.asked + AGAIN_MS - Date.now()));
    }
  }

  leave() {
    clearTimeout(this.timer);
  }

  async look() {
    this.asked = Date.now();
    try {
      const answer = await this.api.get("/api/associations?state=rejected");
      this.told = answer;
    } catch (error) {
      if (!(error instanceof this.api.Problem)) throw error; // what the events told is shown
    } finally {
      this.timer = 0;
    }
    this.draw();
  }

  draw() {
    const rows = grouped(this.told ?? this.model.rows("associations").filter((row) => row.state === "rejected"));
    this.table.set(rows);
    say(this.aside, rows.length ? plural(rows.reduce((sum, row) => sum + row.count, 0), "rejection") : "");
  }

  async let(row) {
    const done = await act({
      question: {
        title: `Allow ${row.callingAeTitle} from ${row.peer}?`,
        text: "It becomes one of the sources: from now on its associations are accepted from this address.",
        yes: "Allow it",
      },
      does: () => this.api.request("POST", `/api/associations/${this.api.part(row.id)}/allow`),
      done: `${row.callingAeTitle} may send from ${row.peer}.`,
      failed: `${row.callingAeTitle} is not allowed`,
    });
    if (done) this.look();
  }
}
