// The scores of one face over a video: a line to look at, and a slider for hands, keys and screen readers.

import { draw, make } from "./dom.js";
import { text } from "./language.js";

const HEIGHT = 130;
const EDGE = 8;

export const value = (look) => look.probability ?? look.score;
export const shown = (number) => number.toFixed(2);

/** The time line of a face; `chosen` receives the number of a look that was picked. */
export function timeline(face, number, band, chosen) {
  const looks = face.looks;
  const WIDTH = Math.min(innerWidth, 640); // so that its texts have about their own size on a phone too
  const at = (look) => look.seconds ?? look.frame;
  const [start, end] = [at(looks[0]), at(looks[looks.length - 1])];
  const x = (look) => EDGE + ((at(look) - start) / (end - start || 1)) * (WIDTH - 2 * EDGE);
  const y = (p) => EDGE + (1 - p) * (HEIGHT - 2 * EDGE);
  const level = (p, key, above) => [
    draw("line", { class: "axis", x1: 0, x2: WIDTH, y1: y(p), y2: y(p), "stroke-dasharray": "3 3" }),
    draw("text", { x: WIDTH, y: above ? y(p) - 4 : y(p) + 12, "text-anchor": "end" }, text(key)),
  ];
  const dots = looks.map((look, i) => draw("circle", { cx: x(look), cy: y(value(look)), r: 3.5, onclick: () => pick(i) }));
  const chart = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT + 16}`, "aria-hidden": "true" },
    draw("line", { class: "axis", x1: 0, x2: WIDTH, y1: y(0), y2: y(0) }),
    draw("line", { class: "axis", x1: 0, x2: WIDTH, y1: y(1), y2: y(1) }),
    band ? [level(band.fake_above, "line.fake", true), level(band.real_below, "line.real", false)] : null,
    draw("polyline", { points: looks.map((look) => `${x(look)},${y(value(look))}`).join(" ") }),
    dots,
    draw("text", { x: 0, y: HEIGHT + 12 }, `${start.toFixed(1)} s`),
    draw("text", { x: WIDTH, y: HEIGHT + 12, "text-anchor": "end" }, `${end.toFixed(1)} s`));
  const slider = make("input", { type: "range", min: 0, max: looks.length - 1, step: 1, value: 0, "aria-label": text("line.label", { n: number + 1 }) });
  const output = make("output", {});
  slider.addEventListener("input", () => pick(Number(slider.value)));
  chart.addEventListener("click", (event) => {
    const box = chart.getBoundingClientRect();
    const where = ((event.clientX - box.left) / box.width) * WIDTH;
    const distances = looks.map((look) => Math.abs(x(look) - where));
    pick(distances.indexOf(Math.min(...distances)));
  });

  /** Show a look as the chosen one, without telling anybody. */
  function show(i) {
    dots.forEach((dot, j) => { dot.setAttribute("class", i === j ? "now" : ""); dot.setAttribute("r", i === j ? 6 : 3.5); });
    slider.value = String(i);
    const said = text("line.value", { s: at(looks[i]).toFixed(1), p: shown(value(looks[i])) });
    slider.setAttribute("aria-valuetext", said);
    output.textContent = said;
  }
  function pick(i) {
    show(i);
    chosen(i);
  }
  show(0);
  return { element: make("div", { class: "line" }, chart, slider, output), show };
}
