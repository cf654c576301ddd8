// Which language the page speaks: what was chosen before, else the browser's first that we have.

import { TEXTS } from "./texts.js";

const KEY = "dfbench-language";

function remembered() {
  try { return localStorage.getItem(KEY); } catch (error) { return null; } // storage may be forbidden
}

function first() {
  const chosen = remembered();
  if (chosen in TEXTS) return chosen;
  for (const name of navigator.languages || [navigator.language]) {
    if (/^zh\b/i.test(name)) return "zh-TW";
    if (/^en\b/i.test(name)) return "en";
  }
  return "en";
}

let language = first();
const listeners = [];

/** The text of a key with its values filled in; undefined where there is none. */
export function text(key, values = {}) {
  const template = TEXTS[language][key];
  return template === undefined ? undefined : template.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** The text of the first key that there is, else the fallback. */
export const textOr = (key, values, fallback) => text(key, values) ?? fallback;

export const onLanguage = (listener) => { listeners.push(listener); };

export function apply() {
  document.documentElement.lang = language;
  document.title = text("page");
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = text(element.dataset.t);
  for (const element of document.querySelectorAll("[data-t-label]")) element.setAttribute("aria-label", text(element.dataset.tLabel));
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === language));
  }
  for (const listener of listeners) listener();
}

export function choose(name) {
  language = name;
  try { localStorage.setItem(KEY, name); } catch (error) { /* then it is forgotten */ }
  apply();
}
