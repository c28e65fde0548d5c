/** Small helpers for building elements without a framework. */

/** The same text, its numbers on one line with what they count: `5 clients`. */
const keptTogether = (child) => (typeof child === "string" ? child.replace(/(\d\.?) (?=\p{L}|%)/gu, "$1\u00a0") : child);

/**
 * Make an element: `h("button", { class: "primary", onclick: go, disabled: busy }, "Go")`.
 * Attributes that are null, undefined or false are left out; children may be nested lists, null and false are skipped.
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false).map(keptTogether));
  return element;
}

/** Make an SVG element; there are no listeners on these. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** Give a shadow root its style sheets; constructed ones need no `style-src 'unsafe-inline'` of the host. */
export function adopt(root, ...texts) {
  root.adoptedStyleSheets = texts.map((text) => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(text);
    return sheet;
  });
}

/**
 * Define properties that the host may have set before the element was upgraded (React and hand-written pages do).
 */
export function upgradeProperties(element, names) {
  for (const name of names) {
    if (!Object.hasOwn(element, name)) continue;
    const value = element[name];
    delete element[name];
    element[name] = value;
  }
}

/** Whether somebody who does not want things to move is looking. */
export function prefersStillness() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

/** Whether `part` lies over the field that the page's user types in just now; fields inside `own` don't count. */
export function covers(part, own) {
  const field = focused();
  if (!takesText(field) || own.contains(field)) return false;
  const [one, other] = [part.getBoundingClientRect(), field.getBoundingClientRect()];
  return one.left < other.right && other.left < one.right && one.top < other.bottom && other.top < one.bottom;
}

function takesText(element) {
  if (!element) return false;
  if (element.isContentEditable || element.tagName === "TEXTAREA") return true;
  return element.tagName === "INPUT" && !/^(button|checkbox|color|file|hidden|image|radio|range|reset|submit)$/.test(element.type);
}

/** The focused element of the page, looked for inside open shadow roots as well. */
function focused() {
  let element = document.activeElement;
  while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
  return element;
}
