// Set-up: AE Titles, sources and destinations as forms; keys; a self-test.

import { h, show } from "./dom.js";
import { duration } from "./format.js";
import { AE_TITLES, DESTINATIONS, SOURCES } from "./entity_kinds.js";
import { EntityForm } from "./form.js";
import { Keys } from "./keys.js";
import { SelfTest } from "./self_test.js";
import { act, ask, button, empty, pill, tell } from "./ui.js";

const ORIGINS = { file: "from the file", api: "made here", kubernetes: "from Kubernetes" };
const OURS = ["origin", "state", "problems", "processing", "hostIp"]; // told, not set
const STATES = { running: "good", parked: "bad", draining: "warn" };

export class SetUp {
  constructor(context) {
    const { api } = context;
    this.context = context;
    const kinds = [AE_TITLES, SOURCES, DESTINATIONS].filter((kind) => api.has("get", kind.path));
    this.tabs = [
      ...kinds.map((kind) => [kind.key, kind.title, () => new Entities(context, kind)]),
      ...(api.has("get", Keys.path) && api.isAdministrator() ? [["keys", "API keys", () => new Keys(context)]] : []),
      ...(api.has("post", SelfTest.path) ? [["self-test", "Self-test", () => new SelfTest(context)]] : []),
    ];
    const chosen = this.tabs.find(([key]) => key === context.path[0]) ?? this.tabs[0];
    this.inner = chosen[2]();
    this.node = h("div", {}, h("nav", { class: "tabs", "aria-label": "What to set up" }, h("ul", {}, this.tabs.map(([key, title]) =>
      h("li", {}, h("a", { href: `#/setup/${key}`, "aria-current": key === chosen[0] ? "page" : null }, title))))), this.inner.node);
  }

  update(topics) {
    this.inner.update?.(topics);
  }

  tick() {
    this.inner.tick?.();
  }

  leave() {
    this.inner.leave?.();
  }
}

class Entities {
  constructor({ api }, kind) {
    Object.assign(this, { api, kind });
    this.list = h("ul", { class: "entities" });
    this.none = empty(`There is no ${kind.one} yet`, kind.about);
    this.place = h("div");
    const make = this.can("post", kind.path) ? button(`New ${kind.one}`, "", () => this.edit(null), "primary") : null;
    this.node = h("div", { class: "detail" }, h("div", { class: "lead" }, h("p", { class: "muted" }, kind.about), make), this.place, this.list, this.none);
  }

  can(method, path) {
    return this.api.has(method, path);
  }

  update(topics) {
    if (topics.has("hello") || topics.has("config") || topics.has("actor")) this.look();
  }

  async look() {
    try {
      const rows = await this.api.get(this.kind.path);
      this.list.replaceChildren(...rows.map((row) => this.shown(row)));
      show(this.none, rows.length === 0);
    } catch (error) {
      if (!(error instanceof this.api.Problem)) throw error;
      tell(`${this.kind.title} cannot be shown: ${error.message}`, "bad");
    }
  }

  shown(row) {
    const { kind } = this;
    const id = kind.idOf(row);
    const made = row.origin === "api";
    return h("li", { class: "card entity" },
      h("div", { class: "entity-text" },
        h("p", {}, h("strong", { class: "mono" }, id), " ", row.state && pill(row.state, STATES[row.state] ?? ""), " ", pill(ORIGINS[row.origin] ?? row.origin)),
        h("p", { class: "muted" }, kind.summary(row).filter(Boolean).join(" · ")),
        row.problems?.length > 0 && h("ul", { class: "problems" }, row.problems.map((problem) => h("li", {}, problem)))),
      h("div", { class: "entity-acts" },
        kind.echo && this.can("post", `${kind.path}/{}/echo`) && button("Echo", id, () => this.echo(id), "small"),
        made && this.can("put", `${kind.path}/{}`) && button("Change", id, () => this.edit(row), "small"),
        made && this.can("delete", `${kind.path}/{}`) && button("Remove", id, () => this.remove(id), "small danger")));
  }

  async edit(row) {
    const { kind, api } = this;
    let value = null;
    let given = {};
    if (row) {
      const path = `${kind.path}/${api.part(kind.idOf(row))}`;
      const { body, headers } = await api.getWhole(path);
      value = Object.fromEntries(Object.entries(kind.edited?.(body) ?? body).filter(([name]) => !OURS.includes(name)));
      if (headers.get("ETag")) given = { "If-Match": headers.get("ETag") };
    }
    const id = row ? kind.idOf(row) : "";
    const form = new EntityForm({
      title: row ? `Change ${id}` : `New ${kind.one}`, value, yes: row ? "Save" : "Make it",
      fields: kind.fields.map((field) => ({ ...field, fixed: Boolean(row && field.fixedWhenChanged) })),
      save: (body) => (row ? api.request("PUT", `${kind.path}/${api.part(id)}`, body, given) : api.request("POST", kind.path, body)),
      told: (saved) => `${kind.idOf(saved ?? { name: id, aeTitle: id })} is ${row ? "changed" : "set up"}, effective now.`,
      done: () => {
        this.place.replaceChildren();
        this.look();
      },
    });
    this.place.replaceChildren(form.node);
    form.node.querySelector("h2").focus();
  }

  async echo(id) {
    tell(`C-ECHO to ${id} is on its way.`);
    await act({
      does: () => this.api.request("POST", `${this.kind.path}/${this.api.part(id)}/echo`),
      done: (answer) => `${id} answered C-ECHO${seconds(answer)}.`,
      failed: `${id} did not answer C-ECHO`,
    });
  }

  async remove(id) {
    const done = await act({
      question: { title: `Remove ${this.kind.one} ${id}?`, text: this.kind === AE_TITLES ? "No association is let in any more. It is gone when its open groups have become jobs." : "It is gone at once; what is under way is finished.", yes: "Remove it", danger: true },
      does: () => this.gone(id),
      done: `${id} is being removed.`,
      failed: `${id} was not removed`,
    });
    if (done) this.look();
  }

  /** A destination for which exports wait goes when they are delivered, if that is wanted. */
  async gone(id) {
    const path = `${this.kind.path}/${this.api.part(id)}`;
    try {
      return await this.api.request("DELETE", path);
    } catch (error) {
      if (error.status !== 409 || this.kind !== DESTINATIONS) throw error;
      const later = await ask({ title: `Remove ${id} later?`, text: `${error.message}. It can be removed when what waits for it is delivered.`, yes: "Remove it then" });
      if (later === null) throw error;
      return this.api.request("DELETE", `${path}?drain=true`);
    }
  }
}

function seconds({ connectMs = 0, associateMs = 0, echoMs = 0 }) {
  return ` in ${duration((connectMs + associateMs + echoMs) / 1000)}`;
}
