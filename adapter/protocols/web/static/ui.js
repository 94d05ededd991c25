// Parts that all pages use: what happened, what is asked first, tables that are turned by the page.

import { Problem } from "./api.js";
import { h, Keyed, mark, say, show } from "./dom.js";
import { count } from "./format.js";

const TOAST_MS = 9000;
const TOASTS_MAX = 4;

/** Say what happened; trouble stays until it is taken away. */
export function tell(text, kind = "ok", lines = []) {
  const place = document.getElementById("toasts");
  const close = h("button", { class: "quiet", type: "button", "aria-label": "Dismiss", onclick: () => toast.remove() }, "×");
  const toast = h("div", { class: `toast ${kind}` }, h("div", {}, h("p", {}, text), lines.length > 0 && h("ul", {}, lines.map((line) => h("li", {}, line)))), close);
  place.prepend(toast);
  while (place.children.length > TOASTS_MAX) place.lastChild.remove();
  if (kind !== "bad") setTimeout(() => toast.remove(), TOAST_MS);
}

/** Ask before something is done. Resolves to null (no), or to what the fields say. */
export function ask({ title, text, yes, no = "Keep as it is", danger = false, fields = [] }) {
  return new Promise((resolve) => {
    const inputs = fields.map((field) => ({ field, node: field.choices
    ? h("select", { id: `ask-${field.name}` }, field.choices.map((each) => h("option", { value: each }, each)))
    : h("input", { ...field.input, id: `ask-${field.name}`, value: field.value ?? "" }) }));
    const answer = () => Object.fromEntries(inputs.map(({ field, node }) => [field.name, node.value]));
    const dialog = h(
      "dialog",
      { class: "ask", "aria-labelledby": "ask-title" },
      h("form", { method: "dialog" },
        h("h2", { id: "ask-title" }, title),
        text && h("p", {}, text),
        inputs.map(({ field, node }) => h("label", { class: "field" }, h("span", {}, field.label), node, field.help && h("small", {}, field.help))),
        h("div", { class: "ends" },
          h("button", { type: "button", onclick: () => dialog.close("no") }, no), // Enter means yes
          h("button", { type: "submit", value: "yes", class: danger ? "danger" : "primary" }, yes),
        ),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? answer() : null);
    });
    document.body.append(dialog);
    dialog.returnValue = "no";
    dialog.showModal();
    (inputs[0]?.node ?? dialog.querySelector("button")).focus();
  });
}

/** Ask, do, and say how it ended. Returns whether it was done. */
export async function act({ question = null, does, done, failed }) {
  const answer = question ? await ask(question) : {};
  if (answer === null) return false;
  try {
    const result = await does(answer);
    tell(typeof done === "function" ? done(result, answer) : done);
    return true;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    tell(`${failed}: ${error.message}`, "bad", error.problems.length > 1 ? error.problems : []);
    return false;
  }
}

/** A button whose accessible name says of what: "Abort" + "association from CT1". */
export const button = (label, of, onclick, kind = "") =>
  h("button", { type: "button", class: kind, "aria-label": of ? `${label} ${of}` : null, onclick }, label);

/** An id, all of it, with a button that copies it; where the browser keeps the clipboard from pages, it is selected. */
export function copyable(id, label = "") {
  const text = h("span", { class: "mono id" }, id);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(id); // not there without TLS, but on this machine
      tell(`${id} is copied.`);
    } catch {
      getSelection().selectAllChildren(text);
      tell("It is selected, and is copied with the keyboard: this browser lets no page do it.");
    }
  };
  return h("span", { class: "copyable" }, label && h("span", {}, label), text, button("Copy", `${label} ${id}`.trim(), copy, "small quiet"));
}

export const pill = (text, tone = "") => h("span", { class: `pill ${tone}` }, text);

export function setPill(node, text, tone = "") {
  say(node, text);
  mark(node, "class", `pill ${tone}`);
}

export const empty = (title, text, ...more) => h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), text && h("p", {}, text), more);

/** A titled box. */
export function card(title, props = {}, ...children) {
  const id = `card-${title.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  const aside = h("div", { class: "card-aside" });
  const node = h("section", { ...props, class: `card ${props.class ?? ""}`, "aria-labelledby": id }, h("header", {}, h("h2", { id }, title), aside), children);
  return { node, aside };
}

/** Facts in two columns. */
export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(([, value]) => value !== "" && value !== null && value !== undefined)
    .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value instanceof Node ? value : String(value)))));
}

/**
 * A table, one page of rows at a time.
 *
 * columns: [{title, class?, cell(row) -> {node, update(row)} | text(row) -> string, head?}].
 */
export class Table {
  constructor({ caption, columns, keyOf, size = 50, none, onrow = null }) {
    Object.assign(this, { columns, size, none });
    this.rows = [];
    this.first = 0;
    this.body = h("tbody", { role: "rowgroup" });
    this.keyed = new Keyed(this.body, keyOf, (row) => this.made(row, onrow));
    this.count = h("span", { class: "muted" });
    this.back = button("Previous", "page", () => this.turn(-1), "small");
    this.next = button("Next", "page", () => this.turn(1), "small");
    this.pager = h("nav", { class: "pager", "aria-label": `Pages of ${caption.toLowerCase()}` }, this.back, this.count, this.next);
    this.table = h("table", { role: "table" }, h("caption", { class: "sr" }, caption),
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, columns.map((column) => h("th", { scope: "col", role: "columnheader", class: column.class ?? null }, column.title === "" ? h("span", { class: "sr" }, "Actions") : column.title)))), this.body);
    this.holder = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Table: ${caption.toLowerCase()}` }, this.table);
    this.node = h("div", { class: "listing" }, this.holder, none, this.pager);
  }

  made(row, onrow) {
    const cells = this.columns.map((column) => {
      if (column.cell) return column.cell(row);
      const node = h("span");
      return { node, update: (now) => say(node, column.text(now)) };
    });
    const node = h("tr", { role: "row" }, cells.map((cell, index) => {
      const column = this.columns[index];
      return h(column.head ? "th" : "td", { class: column.class ?? null, scope: column.head ? "row" : null, role: column.head ? "rowheader" : "cell", "data-title": column.title }, cell.node);
    }));
    onrow?.(node, row);
    return { node, update: (now) => cells.forEach((cell) => cell.update?.(now)) };
  }

  turn(by) {
    this.first = Math.max(0, this.first + by * this.size);
    this.set(this.rows);
  }

  set(rows) {
    this.rows = rows;
    if (this.first >= rows.length) this.first = Math.max(0, Math.floor((rows.length - 1) / this.size) * this.size);
    const page = rows.slice(this.first, this.first + this.size);
    this.keyed.set(page);
    show(this.holder, rows.length > 0);
    if (this.none) show(this.none, rows.length === 0);
    show(this.pager, rows.length > this.size);
    say(this.count, `${count(this.first + 1)}–${count(this.first + page.length)} of ${count(rows.length)}`);
    this.back.disabled = this.first === 0;
    this.next.disabled = this.first + this.size >= rows.length;
  }
}
