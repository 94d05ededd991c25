// System: the actors and how they are, the configuration in force, who did what.

import { h, Keyed, mark, say, show } from "./dom.js";
import { Configuration } from "./configuration.js";
import { clock, count, duration, plural } from "./format.js";
import { button, act, card, empty, pill, setPill, Table } from "./ui.js";

const AUDIT_MS = 7 * 86400 * 1000;
const TONES = { started: "good", crashed: "bad", parked: "bad" };
const WORDS = { started: "running", crashed: "crashed", parked: "parked" };

/** Actors by office: "exporter:pacs" is the one of "pacs" among the exporters. */
function tree(rows) {
  const offices = new Map();
  for (const row of rows) {
    const [office] = row.name.split(":");
    if (!offices.has(office)) offices.set(office, []);
    offices.get(office).push(row);
  }
  return [...offices].map(([office, members]) => ({ office, members: members.sort((a, b) => (a.name < b.name ? -1 : 1)) }))
    .sort((a, b) => (a.office < b.office ? -1 : 1));
}

/** The nodes of the server's tree by name; what is only a name has no state. */
function nodes(node, found = new Map()) {
  if (node.state !== null) found.set(node.name, node);
  for (const child of node.children) nodes(child, found);
  return found;
}

/** How much waits for an actor, and for how long at most. */
function waiting({ mailboxes }) {
  const full = mailboxes.filter((one) => one.waiting);
  if (!full.length) return "";
  const number = full.reduce((sum, one) => sum + one.waiting, 0);
  const longest = Math.max(...full.map((one) => one.notEmptyS));
  return `${count(number)} waiting, for ${duration(longest)} at most`;
}

const boxes = ({ mailboxes }) => mailboxes.map((one) => `${one.name}: ${one.waiting} of ${one.capacity}`).join(", ");

export class System {
  constructor({ model, api }) {
    Object.assign(this, { model, api, figures: new Map(), ticks: 0 });
    this.list = h("ul", { class: "tree" });
    this.keyed = new Keyed(this.list, (branch) => branch.office, (branch) => this.branch(branch));
    const actors = card("Actors", { class: "wide" }, this.list);
    this.aside = actors.aside;
    this.process = h("div");
    this.audit = h("div");
    this.parts = [actors.node];
    this.parts.push(card("Process", {}, this.process).node);
    this.configuration = Configuration.isFor(api) ? new Configuration({ api }) : null;
    if (this.configuration) this.parts.push(this.configuration.node);
    this.auditShown = api.has("get", "/api/audit") && api.isAdministrator();
    if (this.auditShown) this.parts.push(card("Audit trail", { class: "wide" }, this.audit).node);
    this.node = h("div", { class: "grid" }, this.parts);
    this.look();
  }

  branch() {
    const name = h("strong", {});
    const list = h("ul", {});
    const members = new Keyed(list, (row) => row.name, (row) => this.member(row));
    const node = h("li", {}, name, list);
    return { node, update: ({ office, members: rows }) => {
      say(name, office);
      mark(node, "class", rows.length === 1 && rows[0].name === office ? "alone" : null);
      members.set(rows);
    } };
  }

  member(row) {
    const [, ...of] = row.name.split(":");
    const state = pill("");
    const facts = h("span", { class: "muted" });
    const error = h("span", { class: "tone-bad" });
    const restart = button("Restart", row.name, () => this.restart(row.name), "small");
    const node = h("li", { class: "actor" }, of.length > 0 && h("span", { class: "mono" }, of.join(":")), state, facts, error, restart);
    return { node, update: (now) => {
      const figures = this.figures.get(now.name);
      setPill(state, WORDS[now.state] ?? now.state, TONES[now.state]);
      say(facts, [
        now.changedAt && `since ${clock(now.changedAt)}`,
        now.crashes && plural(now.crashes, "crash"),
        figures && waiting(figures),
        figures?.restarts && plural(figures.restarts, "restart"),
      ].filter(Boolean).join(" · "));
      mark(facts, "title", figures ? boxes(figures) : null);
      say(error, now.state === "started" ? "" : now.error ?? figures?.error);
      show(restart, now.state === "parked" && now.name.startsWith("entity:") && this.api.has("post", "/api/config/claraaetitle/{}/restart"));
      mark(node, "data-state", now.state);
    } };
  }

  restart(name) {
    const entity = name.split(":")[1];
    return act({
      does: () => this.api.request("POST", `/api/config/claraaetitle/${this.api.part(entity)}/restart`),
      done: `${entity} is started again.`,
      failed: `${entity} was not started`,
    });
  }

  update(topics) {
    this.configuration?.update(topics);
    if (!topics.has("hello") && !topics.has("actor")) return;
    const rows = this.model.rows("actors").filter((row) => row.state !== "stopped"); // nobody misses those
    this.keyed.set(tree(rows));
    const running = rows.filter((row) => row.state === "started").length;
    say(this.aside, running < rows.length ? `${count(rows.length - running)} of ${count(rows.length)} down` : `${count(running)} running`);
  }

  tick() {
    this.ticks += 1;
    if (this.ticks % 12 === 0) this.look();
  }

  async look() {
    try {
      if (this.api.has("get", "/api/actors")) {
        this.figures = nodes(await this.api.get("/api/actors"));
        this.update(new Set(["actor"]));
      }
      await this.lookAtProcess();
      if (!this.once) await this.lookOnce();
    } catch (error) {
      if (!(error instanceof this.api.Problem)) throw error; // the next look asks again
    }
  }

  async lookAtProcess() {
    const exposition = await this.api.text("/metrics");
    const one = (name) => this.api.metric(exposition, `dicom_adapter_${name}`).get("") ?? null;
    const threads = [...this.api.metric(exposition, "dicom_adapter_threads")].filter(([, number]) => number);
    const loads = [...this.api.metric(exposition, "dicom_adapter_receiver_associations")];
    const lines = [
      ["Associations", `${count(one("associations"))} of ${count(one("associations_max"))}`],
      ["Connections without one", `${count(one("half_open"))} of ${count(one("half_open_max"))}`],
      ...loads.map(([name, load]) => [name.replace("receiver:", "Associations of receiver "), count(load)]),
      ["Threads", `${count(threads.reduce((sum, [, number]) => sum + number, 0))}: ${threads.map(([kind, number]) => `${count(number)} ${kind}`).join(", ")}`],
      ["Platform", one("platform_up") ? "up" : "away"],
      ["Events lost", count(one("events_lost"))],
    ];
    this.process.replaceChildren(h("dl", { class: "facts" }, lines.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))));
  }

  async lookOnce() {
    this.once = true;
    if (this.auditShown) {
      const since = new Date(this.model.now() - AUDIT_MS).toISOString();
      this.drawAudit(await this.api.get(`/api/audit${this.api.query({ since, limit: 1000 })}`));
    }
  }

  drawAudit(rows) {
    const table = new Table({
      caption: "Audit trail", size: 50, keyOf: (row) => row.seq, none: empty("Nothing was changed", "Every change that an operator makes is noted here."),
      columns: [
        { title: "At", head: true, text: (row) => clock(row.at) },
        { title: "Who", cell: (row) => ({ node: h("span", { class: "stack" }, h("strong", {}, row.who), h("span", { class: "muted" }, [row.role, row.address].filter(Boolean).join(" · "))) }) },
        { title: "What", class: "text", cell: (row) => ({ node: h("span", { class: "stack" }, h("span", {}, row.action), h("span", { class: "muted mono" }, row.path)) }) },
        { title: "Changed", class: "text mono", text: (row) => Object.keys(row.after ?? {}).map((key) => `${key}: ${JSON.stringify(row.before?.[key]) ?? ""} → ${JSON.stringify(row.after[key])}`).join("; ").slice(0, 400) },
        { title: "Status", class: "num", text: (row) => row.outcome || "" },
      ],
    });
    table.set(rows.reverse());
    this.audit.replaceChildren(table.node);
  }
}
