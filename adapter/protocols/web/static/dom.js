// Elements from data. Text is always textContent: AE Titles and reasons come from the network.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = value;
    else if (name === "value" || name === "checked" || name === "disabled") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** An element: h("p", {class: "note", onclick: f}, "text", child). */
export const h = (tag, props = {}, ...children) => fill(document.createElement(tag), props, children);

/** An SVG element. */
export const s = (tag, props = {}, ...children) => fill(document.createElementNS(SVG, tag), props, children);

/** Set an element's text if it is another one. */
export function say(element, text) {
  const wanted = text === null || text === undefined ? "" : String(text);
  if (element.textContent !== wanted) element.textContent = wanted;
}

/** Set an attribute if it is another one; null takes it away. */
export function mark(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

/** Show or hide; also SVG, which has the attribute but not the property. */
export function show(element, visible) {
  if (element.hasAttribute("hidden") === visible) element.toggleAttribute("hidden", !visible);
}

/** Keeps the children of a container in step with rows: one child for each key, moved, not remade. */
export class Keyed {
  constructor(container, keyOf, make) {
    Object.assign(this, { container, keyOf, make });
    this.parts = new Map();
  }

  /** make(row) returns {node, update(row)}. */
  set(rows) {
    const gone = new Set(this.parts.keys());
    let place = this.container.firstChild;
    for (const row of rows) {
      const key = this.keyOf(row);
      gone.delete(key);
      let part = this.parts.get(key);
      if (!part) {
        part = this.make(row);
        this.parts.set(key, part);
      }
      part.update?.(row);
      if (part.node === place) place = place.nextSibling;
      else this.container.insertBefore(part.node, place);
    }
    for (const key of gone) {
      this.parts.get(key).node.remove();
      this.parts.delete(key);
    }
  }
}
