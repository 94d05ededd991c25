// API keys: who has one, with which role; a new one is shown once.

import { h, show } from "./dom.js";
import { clock } from "./format.js";
import { act, ask, button, empty, pill, Table, tell } from "./ui.js";

const PATH = "/api/keys";

export class Keys {
  static path = PATH;

  constructor({ api }) {
    this.api = api;
    this.place = h("div");
    this.table = new Table({
      caption: "API keys", keyOf: (row) => row.id, none: empty("No key", "With api.auth = \"api-key\" every request needs one."),
      columns: [
        { title: "Name", head: true, class: "mono", text: (row) => row.name },
        { title: "Role", cell: (row) => ({ node: pill(row.role, row.role === "administrator" ? "warn" : "") }) },
        { title: "Made", class: "num", text: (row) => clock(row.madeAt) },
        { title: "By", text: (row) => row.madeBy },
        { title: "Expires", class: "num", text: (row) => clock(row.expiresAt) },
        { title: "", class: "act", cell: (row) => {
          const node = button("Revoke", row.name, () => this.revoke(row), "small danger");
          return { node, update: (now) => show(node, !now.revokedAt) };
        } },
      ],
    });
    this.node = h("div", { class: "detail" },
      h("div", { class: "lead" }, h("p", { class: "muted" }, "Viewers look, operators act on what is under way, administrators set up."), button("New key", "", () => this.make(), "primary")),
      this.place, h("div", { class: "card" }, this.table.node));
  }

  update(topics) {
    if (topics.has("hello") || topics.has("config")) this.look();
  }

  async look() {
    try {
      const told = await this.api.get(PATH);
      this.table.set(told);
    } catch (error) {
      if (!(error instanceof this.api.Problem)) throw error;
      tell(`Keys cannot be shown: ${error.message}`, "bad");
    }
  }

  async make() {
    const answer = await ask({ title: "A new API key", text: "It is shown once, right after it is made.", yes: "Make it", fields: [
      { name: "name", label: "Name", input: { required: true, maxlength: "64", autocomplete: "off" }, help: "Who or what uses it." },
      { name: "role", label: "Role", choices: ["viewer", "operator", "administrator"] },
    ] });
    if (answer === null) return;
    await act({
      does: () => this.api.request("POST", PATH, answer),
      done: (made) => {
        this.place.replaceChildren(h("div", { class: "card secret" }, h("p", {}, "The key of ", h("strong", {}, made.name), ". It is not shown again:"), h("p", { class: "mono id" }, made.key)));
        return `The key ${made.name} is made.`;
      },
      failed: "No key was made",
    });
    this.look();
  }

  async revoke(row) {
    await act({
      question: { title: `Revoke the key ${row.name}?`, text: "Whoever uses it is locked out from now on.", yes: "Revoke it", danger: true },
      does: () => this.api.request("DELETE", `${PATH}/${this.api.part(row.id)}`),
      done: `The key ${row.name} is revoked.`,
      failed: `The key ${row.name} was not revoked`,
    });
    this.look();
  }
}
