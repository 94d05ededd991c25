// A form made from field descriptions, with the server's own words beside the fields they are about.

import { Problem } from "./api.js";
import { h, mark, show } from "./dom.js";
import { tell } from "./ui.js";

const listed = (text) => text.split(/[\n,]/).map((each) => each.trim()).filter(Boolean);

function mapped(text) {
  return Object.fromEntries(text.split("\n").map((line) => line.trim()).filter(Boolean).map((line) => {
    const [name, ...value] = line.split("=");
    return [name.trim(), value.join("=").trim()];
  }));
}

const KINDS = {
  text: { read: (node) => node.value.trim() || undefined, write: (value) => value ?? "" },
  number: { read: (node) => (node.value === "" ? undefined : Number(node.value)), write: (value) => value ?? "" },
  list: { read: (node) => listed(node.value), write: (value) => (Array.isArray(value) ? value.join(", ") : value ?? "") },
  tags: { // "0020,000D": commas are part of it
    read: (node) => {
      const lines = node.value.split("\n").map((line) => line.trim()).filter(Boolean);
      return lines.length > 1 ? lines : lines[0];
    },
    write: (value) => (Array.isArray(value) ? value.join("\n") : value ?? ""),
  },
  map: { read: (node) => mapped(node.value), write: (value) => Object.entries(value ?? {}).map(([name, each]) => `${name} = ${typeof each === "string" ? each : JSON.stringify(each)}`).join("\n") },
  choice: { read: (node) => JSON.parse(node.value), write: (value) => JSON.stringify(value) },
};
const LONG = new Set(["map", "tags"]);

class Field {
  constructor(given, value) {
    Object.assign(this, given);
    const kind = KINDS[this.kind ?? "text"];
    const id = `field-${this.name}`;
    const now = value === undefined ? this.standard : value;
    const common = { id, name: this.name, "aria-describedby": `${id}-help ${id}-problem`, disabled: given.fixed ?? false };
    if (this.kind === "choice") {
      this.node = h("select", common, this.choices.map(([each, label]) => h("option", { value: JSON.stringify(each), selected: JSON.stringify(each) === kind.write(now) }, label)));
    } else if (LONG.has(this.kind)) {
      this.node = h("textarea", { ...common, rows: this.kind === "map" ? 3 : 2, spellcheck: "false", value: kind.write(now) });
    } else {
      this.node = h("input", { ...common, type: this.kind === "number" ? "number" : "text", step: "any", autocomplete: "off", spellcheck: "false", value: kind.write(now) });
    }
    this.read = () => kind.read(this.node);
    this.problem = h("small", { class: "problem", id: `${id}-problem` });
    this.row = h("label", { class: `field ${LONG.has(this.kind) ? "long" : ""}`, for: id }, h("span", {}, this.label, this.required && h("span", { class: "muted" }, " needed")), this.node,
      h("small", { id: `${id}-help` }, this.help ?? ""), this.problem);
    this.complain("");
  }

  complain(text) {
    this.problem.textContent = text;
    show(this.problem, text !== "");
    mark(this.node, "aria-invalid", text ? "true" : null);
  }
}

/** The key a problem is about: "timeoutS: 0 is ..." or "processors[0].name: ...". */
const keyOf = (problem) => /^([A-Za-z]+)/.exec(problem.split(":")[0])?.[1] ?? "";

export class EntityForm {
  /** save(body) sends it; done() when it is saved or left. */
  constructor({ title, fields, value, yes, save, done, told }) {
    Object.assign(this, { save, done, told, value });
    this.fields = fields.map((field) => new Field(field, value?.[field.name]));
    const rows = (more) => this.fields.filter((field) => Boolean(field.more) === more).map((field) => field.row);
    const rest = rows(true);
    this.more = rest.length ? h("details", {}, h("summary", {}, "More"), h("div", { class: "fields" }, rest)) : null;
    this.others = h("ul", { class: "problems", role: "alert" });
    this.send = h("button", { type: "submit", class: "primary" }, yes);
    this.node = h("form", { class: "card entity-form", novalidate: true, onsubmit: (event) => {
      event.preventDefault();
      this.submit();
    } }, h("h2", { tabindex: "-1" }, title), this.others, h("div", { class: "fields" }, rows(false)), this.more,
    h("div", { class: "ends" }, h("button", { type: "button", onclick: done }, "Leave it"), this.send));
  }

  body() {
    const body = { ...this.value };
    for (const field of this.fields) {
      const value = field.read();
      const none = value === undefined || (Array.isArray(value) && !value.length && !this.value) || (this.kind === "map" && !Object.keys(value).length);
      if (none) delete body[field.name];
      else body[field.name] = value;
    }
    return body;
  }

  async submit() {
    this.send.disabled = true;
    try {
      const saved = await this.save(this.body());
      tell(this.told(saved));
      this.done();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.complain(error.problems.length ? error.problems : [error.message]);
    } finally {
      this.send.disabled = false;
    }
  }

  complain(problems) {
    const rest = [];
    for (const field of this.fields) field.complain("");
    for (const problem of problems) {
      const field = this.fields.find((each) => each.name === keyOf(problem));
      if (field) field.complain([field.problem.textContent, problem].filter(Boolean).join("; "));
      else rest.push(problem);
      if (field?.more) this.more.open = true;
    }
    this.others.replaceChildren(...rest.map((each) => h("li", {}, each)));
    (this.fields.find((field) => field.problem.textContent)?.node ?? this.node.querySelector("h2")).focus();
  }
}
