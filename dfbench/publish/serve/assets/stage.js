// The visitor's own file with boxes over its faces. It never left for display: the page shows the local copy.

import { make } from "./dom.js";
import { text } from "./language.js";
import { shown, value } from "./timeline.js";

const COLOURS = 6;
export const colour = (number) => `c${number % COLOURS}`;

/** The look of a face that is nearest to a time; null where the face is not there then. */
export function nearest(face, seconds, gap) {
  let best = null;
  face.looks.forEach((look, i) => {
    const distance = Math.abs((look.seconds ?? 0) - seconds);
    if (distance <= gap && (best === null || distance < best[1])) best = [i, distance];
  });
  return best && best[0];
}

/**
 * The stage for a file.
 * `moved` receives the time of a video when it changes. Returns the element, or null where the browser cannot show it.
 */
export function stage(file, result, moved) {
  const media = result.media;
  const address = URL.createObjectURL(file);
  const isVideo = media.frames > 1 || media.container !== "picture";
  const shownMedia = isVideo
    ? make("video", { src: address, controls: true, muted: true, playsinline: true, preload: "auto" })
    : make("img", { src: address, alt: text("media.alt") });
  const boxes = make("div", { "aria-hidden": "true" });
  const element = make("div", { class: "stage" }, shownMedia, boxes);
  // As large as the window allows, small pictures a little enlarged. Set by script: the content security policy allows
  // no styles in markup.
  element.style.width = `min(100%, ${Math.max(media.width, 360)}px, ${(62 * media.width) / media.height}vh)`;
  shownMedia.addEventListener("error", () => element.replaceWith(make("p", { class: "hint" }, text("media.none"))));
  const times = result.faces.flatMap((face) => face.looks.map((look) => look.seconds ?? 0)).sort((a, b) => a - b);
  const steps = times.slice(1).map((t, i) => t - times[i]).filter((step) => step > 0);
  const gap = isVideo ? Math.max(0.75 * Math.max(0, ...steps), 0.5) : Infinity;

  function show(seconds) {
    boxes.replaceChildren();
    result.faces.forEach((face, number) => {
      const i = nearest(face, seconds, gap);
      if (i === null) return;
      const [left, top, side] = face.looks[i].box;
      const box = make("div", { class: `box ${colour(number)}${top < 0.08 * media.height ? " low" : ""}` },
        make("span", {}, `${number + 1} · ${shown(value(face.looks[i]))}`));
      box.style.left = `${(100 * left) / media.width}%`;
      box.style.top = `${(100 * top) / media.height}%`;
      box.style.width = `${(100 * side) / media.width}%`;
      box.style.height = `${(100 * side) / media.height}%`;
      boxes.append(box);
    });
  }
  if (isVideo) {
    for (const name of ["timeupdate", "seeked"]) {
      shownMedia.addEventListener(name, () => { show(shownMedia.currentTime); moved(shownMedia.currentTime, gap); });
    }
  }
  show(0);
  return {
    element,
    jump(seconds) {
      if (!isVideo) return;
      shownMedia.pause();
      shownMedia.currentTime = seconds + 0.001;
      show(seconds);
    },
    close() { URL.revokeObjectURL(address); },
  };
}
