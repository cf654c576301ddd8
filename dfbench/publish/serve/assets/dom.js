// Making elements; texts become text nodes, so nothing that comes from a server is ever markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [key, value] of Object.entries(properties || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const make = (name, properties, ...children) => fill(document.createElement(name), properties, children);
export const draw = (name, properties, ...children) => fill(document.createElementNS(SVG, name), properties, children);
export const byId = (id) => document.getElementById(id);
export const announce = (text) => { byId("live").textContent = text; };
