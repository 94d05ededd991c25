// The configuration that counts, key by key, and where each value comes from.

import { h, mark, say } from "./dom.js";
import { plural } from "./format.js";
import { card, empty, pill, Table } from "./ui.js";

const ROUTE = "/api/configuration";

/** As in the file; a long one by its beginning. */
const shown = ({ value }) => (typeof value === "string" ? value : JSON.stringify(value)).slice(0, 400);

const isSet = ({ origin }) => origin !== "default";

export class Configuration {
  static isFor(api) {
    return api.has("get", ROUTE) && api.isAdministrator();
  }

  constructor({ api }) {
    Object.assign(this, { api, rows: [], onlySet: true });
    this.search = h("input", { type: "search", placeholder: "Search keys and values…", "aria-label": "Search the configuration", oninput: () => this.draw() });
    this.chips = [["Set", true], ["All", false]].map(([word, onlySet]) => ({ onlySet, node: h("button", { type: "button", class: "chip", onclick: () => this.choose(onlySet) }, word) }));
    this.told = h("span", { class: "muted", role: "status" });
    this.table = new Table({
      caption: "Configuration", size: 25, keyOf: (row) => row.key, none: empty("Nothing to be shown", "No key that is sought is set; all others have their defaults."),
      columns: [
        { title: "Key", head: true, class: "mono", text: (row) => row.key },
        { title: "Value", class: "mono text", text: shown },
        { title: "From", class: "text", cell: (row) => this.from(row) },
      ],
    });
    this.node = card("Configuration", { class: "wide" },
      h("div", { class: "filters" }, this.search, h("div", { class: "chips", role: "group", "aria-label": "Which keys" }, this.chips.map(({ node }) => node)), this.told),
      this.table.node).node;
    this.look();
  }

  from() {
    const origin = h("span", {});
    const restart = pill("after a restart");
    const node = h("span", { class: "stack" }, origin, restart);
    return { node, update: (row) => {
      say(origin, row.origin);
      mark(restart, "hidden", !row.restart || !isSet(row));
      mark(restart, "title", "Another value counts when the adapter is restarted");
    } };
  }

  update(topics) {
    if (topics.has("config")) this.look();
  }

  choose(onlySet) {
    this.onlySet = onlySet;
    this.table.first = 0;
    this.draw();
  }

  async look() {
    try {
      this.rows = await this.api.get(ROUTE);
      this.draw();
    } catch (error) {
      if (!(error instanceof this.api.Problem)) throw error;
      say(this.told, error.message);
    }
  }

  draw() {
    const sought = this.search.value.trim().toLowerCase();
    const found = this.rows.filter((row) => (isSet(row) || !this.onlySet) && `${row.key} ${shown(row)} ${row.origin}`.toLowerCase().includes(sought));
    for (const { node, onlySet } of this.chips) mark(node, "aria-pressed", String(onlySet === this.onlySet));
    say(this.told, plural(found.length, "key"));
    this.table.set(found);
  }
}
