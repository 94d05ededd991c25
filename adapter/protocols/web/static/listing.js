// What Jobs and Exports have in common: a list that is searched, filtered and turned by the page.

import { h, say } from "./dom.js";
import { count } from "./format.js";
import { tell } from "./ui.js";

const PAGE = 1000;
const ROWS_MAX = 20000; // the latest
const BACK = [1, PAGE]; // how far behind the end of what is known it is looked for
const AGAIN_MS = 1000;
const TOLD = ["state", "error", "sent", "failed"]; // what events tell of rows

export class Listing {
  /** states: those to filter by; path: of the route; texts(row): what a search looks in. */
  constructor({ api, model, parameters, section, path, states, texts, table, extra = {} }) {
    Object.assign(this, { api, model, section, path, states, texts, table, extra, rows: [], first: 0, timer: 0 });
    this.state = parameters.get("state") ?? "";
    this.search = h("input", { type: "search", placeholder: "Search id, AE Title, pipeline…", "aria-label": `Search ${section}`, value: parameters.get("q") ?? "", oninput: () => this.draw() });
    this.chips = new Map(["", ...states].map((state) => [state, h("button", { type: "button", class: "chip", onclick: () => this.choose(state) }, state || "All")]));
    this.told = h("span", { class: "muted", role: "status" });
    this.node = h("div", { class: "card" },
      h("div", { class: "filters" }, this.search, h("div", { class: "chips", role: "group", "aria-label": "State" }, [...this.chips.values()]), this.told),
      table.node);
    this.known = new Map();
  }

  choose(state) {
    this.state = state;
    this.table.first = 0;
    const kept = new URLSearchParams(Object.entries({ ...this.extra, state, q: this.search.value }).filter(([, value]) => value));
    history.replaceState(null, "", `#/${this.section}${kept.size ? `?${kept}` : ""}`);
    this.look();
  }

  update(topics) {
    if (topics.has("hello")) this.look();
    else if (topics.has(this.section.slice(0, -1)) || topics.has("storage")) this.touched();
  }

  /** Events tell how known rows are now; rows that are new are asked for, once in a while. */
  touched() {
    const told = this.model.sections[this.section];
    this.rows = this.rows.filter((row) => !this.model.reclaimed.has(row.jobId ?? row.id));
    for (const row of this.rows) {
      const now = told.get(row.id);
      if (now) for (const name of TOLD) row[name] = now[name] ?? row[name];
    }
    this.draw();
    if (!this.timer) this.timer = setTimeout(() => this.look(this.state === ""), AGAIN_MS);
  }

  leave() {
    clearTimeout(this.timer);
    this.left = true;
  }

  /** Ask for all rows, or only for those behind the ones that are known: they come oldest first. */
  async look(onlyNew = false) {
    clearTimeout(this.timer);
    const state = this.state;
    try {
      const known = onlyNew ? this.rows : [];
      const { first, rows } = (known.length && (await this.behind(known, state))) || (await this.latest(state));
      if (this.left || state !== this.state) return;
      this.timer = 0;
      this.rows = rows.slice(0, ROWS_MAX);
      this.first = first + rows.length - this.rows.length;
      this.draw();
    } catch (error) {
      if (!(error instanceof this.api.Problem)) throw error;
      this.timer = 0;
      tell(`The ${this.section} cannot be shown: ${error.message}`, "bad");
    }
  }

  /** The latest rows, newest first, and how many there are before them. */
  async latest(state) {
    const { headers } = await this.page(0, state, 1);
    const first = Math.max(0, Number(headers.get("X-Total-Count")) - ROWS_MAX);
    return { first, rows: (await this.from(first, state)).reverse() };
  }

  /** The same, of which some are known; null: these are not where they were, and all have to be asked for. */
  async behind(known, state) {
    for (const back of BACK) {
      const offset = Math.max(0, this.first + known.length - back);
      const rows = await this.from(offset, state);
      const place = rows.findIndex((row) => row.id === known[0].id);
      if (place >= 0) return { first: Math.max(0, offset + place + 1 - known.length), rows: [...rows.slice(place + 1).reverse(), ...known] };
    }
    return null;
  }

  async from(first, state) {
    const rows = [];
    for (let offset = first; ; offset += PAGE) {
      const { body } = await this.page(offset, state, PAGE);
      rows.push(...body);
      if (body.length < PAGE) return rows;
    }
  }

  page(offset, state, limit) {
    return this.api.getWhole(this.path + this.api.query({ ...this.extra, state, limit, offset }));
  }

  draw() {
    const wanted = this.search.value.trim().toLowerCase();
    const rows = wanted ? this.rows.filter((row) => this.texts(row).some((text) => String(text ?? "").toLowerCase().includes(wanted))) : this.rows;
    for (const [state, chip] of this.chips) chip.setAttribute("aria-pressed", String(state === this.state));
    this.table.set(rows);
    const all = count(this.rows.length);
    const found = rows.length === this.rows.length ? "" : count(rows.length);
    if (this.first) say(this.told, `${found && `${found} of the `}latest ${all} of ${count(this.first + this.rows.length)}`);
    else say(this.told, found ? `${found} of ${all}` : all);
  }
}
