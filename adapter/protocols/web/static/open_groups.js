// Open groups: what has come, and how long each waits for more. Close now, hold, extend.

import { Ring } from "./charts.js";
import { h, Keyed, mark, say, show } from "./dom.js";
import { bytes, clock, count, duration, plural, short } from "./format.js";
import { act, button, card, empty, pill, setPill } from "./ui.js";

const PAGE = 24;

export class OpenGroups {
  constructor({ model, api }) {
    Object.assign(this, { model, api });
    this.first = 0;
    this.list = h("ul", { class: "groups" });
    this.keyed = new Keyed(this.list, (row) => row.id, (row) => this.made(row));
    this.none = empty("No group is open", "A group opens with the first instance of a study and closes when it has been quiet for the time its AE Title says.");
    this.back = button("Previous", "groups", () => this.turn(-1), "small");
    this.next = button("Next", "groups", () => this.turn(1), "small");
    this.where = h("span", { class: "muted" });
    this.pager = h("nav", { class: "pager", "aria-label": "Pages of open groups" }, this.back, this.where, this.next);
    const { node, aside } = card("Open groups", { class: "wide" }, this.none, this.list, this.pager);
    Object.assign(this, { node, aside });
    this.shown = [];
  }

  made(row) {
    const ring = new Ring();
    const title = h("strong", { class: "mono" }, row.aeTitle);
    const state = pill("");
    const facts = h("p", { class: "muted" });
    const why = h("p", { class: "why" });
    const of = `group of ${row.aeTitle} opened at ${clock(row.openedAt)}`;
    const hold = button("Hold", of, () => this.hold(row), "small");
    const node = h("li", { class: "group" }, ring.node,
      h("div", { class: "group-text" }, h("p", {}, title, state), facts, why),
      h("div", { class: "group-acts" }, button("Close now", of, () => this.close(row), "small"), hold, button("Extend", of, () => this.extend(row), "small")));
    mark(node, "title", row.id);
    return { node, update: (now) => {
      this.ring(ring, now);
      setPill(state, this.state(now), now.held ? "warn" : now.associations.length ? "live" : "");
      const age = duration(Math.floor((this.model.now() - Date.parse(now.openedAt)) / 1000));
      say(facts, [plural(now.instances, "instance"), bytes(now.bytes), `open ${age}`, now.processor && now.processor !== "aetitle" ? `for ${now.processor}` : ""].filter(Boolean).join(" · "));
      say(why, [now.why, now.fallback && "lacks the attribute it should be grouped by", now.supplements && `comes late to ${short(now.supplements)}`].filter(Boolean).join(" · "));
      show(why, why.textContent !== "");
      hold.disabled = Boolean(now.held);
    } };
  }

  state(row) {
    if (row.held) return "held";
    if (row.associations.length) return `${plural(row.associations.length, "sender")}`;
    return row.notBeforeAt && Date.parse(row.notBeforeAt) > this.model.now() ? "extended" : "quiet";
  }

  ring(ring, row) {
    const left = row.dueAt ? Math.max(0, (Date.parse(row.dueAt) - this.model.now()) / 1000) : null;
    ring.set(left, Math.max(row.timeoutS || 1, left && row.notBeforeAt ? left : 0), Boolean(row.held));
  }

  turn(by) {
    this.first = Math.max(0, this.first + by * PAGE);
    this.draw();
  }

  update(topics) {
    if (["hello", "group", "instance", "association"].some((topic) => topics.has(topic))) this.draw();
  }

  /** The order of opening: groups do not jump under the hand that wants to click. */
  draw() {
    const rows = this.model.rows("groups");
    if (this.first >= rows.length) this.first = Math.max(0, Math.floor((rows.length - 1) / PAGE) * PAGE);
    this.shown = rows.slice(this.first, this.first + PAGE);
    this.keyed.set(this.shown);
    show(this.none, rows.length === 0);
    show(this.list, rows.length > 0);
    show(this.pager, rows.length > PAGE);
    say(this.where, `${count(this.first + 1)}–${count(this.first + this.shown.length)} of ${count(rows.length)}`);
    this.back.disabled = this.first === 0;
    this.next.disabled = this.first + PAGE >= rows.length;
    say(this.aside, rows.length ? plural(rows.length, "group") : "");
  }

  tick() {
    if (this.shown.length) this.draw();
  }

  order(row, verb, body) {
    return this.api.request("POST", `/api/groups/${this.api.part(row.id)}/${verb}`, body);
  }

  close(row) {
    return act({
      question: {
        title: `Close this group of ${row.aeTitle} now?`,
        text: `Its ${plural(row.instances, "instance")} become a job for each pipeline. What comes later goes into a new group.`,
        yes: "Close it now",
      },
      does: () => this.order(row, "close"),
      done: `The group of ${row.aeTitle} closes.`,
      failed: "It was not closed",
    });
  }

  hold(row) {
    return act({
      question: { title: `Hold this group of ${row.aeTitle}?`, text: "It stays open, also over a restart, until somebody closes or extends it.", yes: "Hold it" },
      does: () => this.order(row, "hold"),
      done: `The group of ${row.aeTitle} is held.`,
      failed: "It is not held",
    });
  }

  extend(row) {
    return act({
      question: {
        title: `Extend this group of ${row.aeTitle}?`,
        text: "It is not closed before this time is over; that ends a hold.",
        yes: "Extend it",
        fields: [{ name: "seconds", label: "Seconds from now", value: "300", input: { type: "number", min: "0", max: "2592000", required: true } }],
      },
      does: ({ seconds }) => this.order(row, "extend", { seconds: Number(seconds) }),
      done: (_, { seconds }) => `The group of ${row.aeTitle} stays open for ${duration(Number(seconds))}.`,
      failed: "It was not extended",
    });
  }
}
