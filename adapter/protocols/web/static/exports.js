// Exports: all of them, or one with what became of every instance.

import { h, show } from "./dom.js";
import { clock, count, plural, short } from "./format.js";
import { linkCell, stateCell } from "./jobs.js";
import { Listing } from "./listing.js";
import { act, button, card, empty, facts, pill, setPill, Table } from "./ui.js";

const STATES = ["Queued", "Sending", "Sent", "Committing", "Completed", "Failed"];
const tone = (state) => ({ Completed: "good", Failed: "bad", Sending: "live", Committing: "info", Sent: "info" })[state] ?? "";

export class Exports {
  constructor(context) {
    const [id] = context.path;
    this.inner = id ? new OneExport(context, id) : listOf(context);
    this.node = this.inner.node;
    if (id) this.title = "Export";
  }

  update(topics) {
    this.inner.update(topics);
  }

  leave() {
    this.inner.leave?.();
  }
}

function listOf(context) {
  const destination = context.parameters.get("destination") ?? "";
  const table = new Table({
    caption: "Exports", keyOf: (row) => row.id,
    none: empty("No export here", "An export is the results of one job for one destination. With another state or search there may be some."),
    columns: [
      { title: "Export", head: true, cell: linkCell((row) => `#/exports/${encodeURIComponent(row.id)}`, (row) => row.id) },
      { title: "State", cell: stateCell(tone) },
      { title: "Destination", class: "mono", text: (row) => row.destination },
      { title: "Delivered", class: "num", text: (row) => `${count(row.sent)} of ${count(row.instances)}` },
      { title: "Failed", class: "num", text: (row) => (row.failed ? count(row.failed) : "–") },
      { title: "Job", cell: linkCell((row) => `#/jobs/${encodeURIComponent(row.jobId)}`, (row) => row.jobId) },
      { title: "Opened", class: "num", text: (row) => clock(row.openedAt) },
      { title: "Trouble", class: "text", text: (row) => row.error },
    ],
  });
  const listing = new Listing({ ...context, section: "exports", path: "/api/exports", states: STATES, table, extra: destination ? { destination } : {},
    texts: (row) => [row.id, row.jobId, row.destination, row.error] });
  if (destination) listing.node.prepend(h("p", { class: "filtered" }, "To ", h("strong", { class: "mono" }, destination), " only. ", h("a", { href: "#/exports" }, "Show all")));
  return listing;
}

class OneExport {
  constructor({ model, api }, id) {
    Object.assign(this, { model, api, id });
    this.head = h("div", {});
    this.outcomes = new Table({
      caption: "What became of every instance", size: 50, keyOf: (row) => row.index,
      none: empty("Nothing to send", ""),
      columns: [
        { title: "SOP Instance UID", head: true, class: "mono", cell: (row) => ({ node: h("span", { title: row.sopInstanceUid || row.file }, short(row.sopInstanceUid || row.file, 34)) }) },
        { title: "Outcome", cell: () => this.outcome() },
        { title: "Status", class: "mono num", text: (row) => (row.status === null ? "–" : `0x${row.status.toString(16).toUpperCase().padStart(4, "0")}`) },
        { title: "Tries", class: "num", text: (row) => count(row.attempts) },
        { title: "At", class: "num", text: (row) => clock(row.at) },
        { title: "Remarks", class: "text", text: (row) => [row.error, row.transcoded && `sent as a copy: ${row.transcoded}`, row.givenTo && `given to ${row.givenTo}`].filter(Boolean).join(" · ") },
      ],
    });
    this.instances = card("Instances", {}, this.outcomes.node).node;
    this.node = h("div", { class: "detail" }, this.head, this.instances);
    show(this.instances, false);
  }

  outcome() {
    const node = pill("");
    return { node, update: (row) => {
      if (row.committed) setPill(node, "committed", "good");
      else if (row.delivered) setPill(node, "delivered", "good");
      else if (row.givenTo) setPill(node, "given on", "warn");
      else if (row.permanent) setPill(node, "refused", "bad");
      else setPill(node, row.attempts ? "tried" : "waiting", row.attempts ? "warn" : "");
    } };
  }

  update(topics) {
    if (topics.has("hello")) {
      this.look();
      return;
    }
    const row = this.model.sections.exports.get(this.id);
    const stamp = `${row?.changedAt} ${row?.state}`;
    if (topics.has("export") && stamp !== this.stamp) this.look();
    this.stamp = stamp;
  }

  async look() {
    try {
      this.draw(await this.api.get(`/api/exports/${this.api.part(this.id)}`));
    } catch (error) {
      if (!(error instanceof this.api.Problem)) throw error;
      show(this.instances, false);
      this.head.replaceChildren(h("p", {}, h("a", { href: "#/exports" }, "All exports")), empty(error.status === 404 ? "There is no such export" : "It cannot be shown", error.status === 404 ? "It may have been reclaimed with its job." : error.message));
    }
  }

  draw(row) {
    const retry = button("Retry", `export to ${row.destination}`, () => this.retry(row), "primary");
    show(retry, row.state === "Failed");
    this.head.replaceChildren(
      h("p", {}, h("a", { href: "#/exports" }, "All exports")),
      h("div", { class: "card" },
        h("div", { class: "detail-head" }, h("p", { class: "mono id" }, row.id), pill(row.state, tone(row.state)), h("span", { class: "detail-acts" }, retry)),
        row.error && h("p", { class: "trouble" }, row.error),
        facts([
          ["Destination", row.destination], ["Delivered", `${count(row.sent)} of ${plural(row.instances, "instance")}`],
          ["Committed", row.committed ? count(row.committed) : ""], ["Failed", row.failed ? count(row.failed) : ""],
          ["Given on", row.given ? `${count(row.given)} to ${row.givenTo}` : ""], ["Instead of", row.insteadOf],
          ["Priority", row.priority], ["Tries", count(row.tryCount)], ["Next try", row.dueAt && row.state === "Queued" ? clock(row.dueAt) : ""],
          ["Opened", clock(row.openedAt)], ["Changed", clock(row.changedAt)],
          ["Job", h("a", { href: `#/jobs/${encodeURIComponent(row.jobId)}`, class: "mono" }, row.jobId)],
        ])),
    );
    show(this.instances, true);
    this.outcomes.set(row.outcomes ?? []);
  }

  retry(row) {
    return act({
      question: { title: `Send to ${row.destination} again?`, text: "What is not delivered yet is sent, also what was refused for good.", yes: "Send it again" },
      does: () => this.api.request("POST", `/api/exports/${this.api.part(row.id)}/retry`, undefined, this.api.once()),
      done: (now) => `The export is ${now.state} again.`,
      failed: "It is not sent again",
    }).then(() => this.look());
  }
}
