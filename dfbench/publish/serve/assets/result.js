// The result of a job: the verdict in words, the figures, the file with its boxes, and every face.

import * as api from "./api.js";
import { announce, byId, make } from "./dom.js";
import { text, textOr } from "./language.js";
import { colour, nearest, stage } from "./stage.js";
import { shown, timeline, value } from "./timeline.js";

const percent = (share) => Math.round(100 * share);
export const verdict = (said) => textOr(`verdict.${said.verdict}`, {}, said.verdict);

function reason(said) {
  if (!said.code) return text("said");
  const values = { ...said.values };
  if (typeof values.limit === "number") values.limit = values.limit.toLocaleString(document.documentElement.lang);
  return textOr(`reason.${said.code}`, values, said.reason);
}

const figure = (key, content) => make("div", {}, make("dt", {}, text(key)), make("dd", {}, content));

function figures(result) {
  return make("dl", { class: "figures" },
    result.probability !== null ? figure("probability", shown(result.probability)) : null,
    result.score !== null ? figure("score", shown(result.score)) : null,
    result.media ? figure("faces", String(result.faces.length)) : null,
    result.media && result.media.frames > 1 ? figure("looked", String(result.frames_looked_at)) : null,
    figure("took", text("seconds", { s: result.seconds.toFixed(1) })));
}

/** One face; returns its element and what shows one of its looks. */
function faceBlock(job, face, number, band, jump) {
  const seen = make("img", { alt: text("crop.alt", { n: number + 1 }), loading: "lazy" });
  const caption = make("figcaption", {});
  const looks = make("div", { class: "looks" }, make("figure", {}, make("div", { class: "crop" }, seen), caption));
  const still = face.looks.length === 1;
  if (job.result.heat.includes(number)) {
    const top = face.looks.reduce((best, look, i) => (look.score > face.looks[best].score ? i : best), 0);
    looks.append(make("figure", {},
      make("div", { class: "crop" },
        make("img", { src: api.picture(job.id, number, `${top}.jpg`), alt: "", loading: "lazy" }),
        make("img", { src: api.picture(job.id, number, "heat.png"), alt: text("heat.alt", { n: number + 1 }), loading: "lazy", "data-heat": true })),
      make("figcaption", {}, text("heat.caption"))));
  }
  function showLook(i) {
    seen.src = api.picture(job.id, number, `${i}.jpg`);
    const look = face.looks[i];
    const when = look.seconds ?? look.frame;
    caption.textContent = still ? text("crop.one", { p: shown(value(look)) }) : text("crop.at", { s: when.toFixed(1), p: shown(value(look)) });
  }
  const line = still ? null : timeline(face, number, band, (i) => { showLook(i); jump(face.looks[i].seconds ?? 0); });
  showLook(0);
  const details = [verdict(face), text("pixels", { side: Math.round(face.side) })];
  if (face.unfamiliar) details.push(text("strange", { percent: percent(face.unfamiliar) }));
  const own = face.code && face.code !== job.result.code ? make("p", { class: "hint" }, reason(face)) : null;
  const element = make("section", { class: `face ${colour(number)}`, "aria-labelledby": `face-${number}` },
    make("h3", { id: `face-${number}` }, text("face", { n: number + 1 }), make("small", {}, details.join(" · "))),
    own, looks, line && line.element, line && make("p", { class: "hint" }, text("line.hint")));
  return {
    element,
    follow(seconds, gap) {
      const i = line ? nearest(face, seconds, gap) : null;
      if (i === null) return;
      line.show(i);
      showLook(i);
    },
  };
}

function download(job) {
  const blob = new Blob([JSON.stringify(job, null, 1)], { type: "application/json" });
  const link = make("a", { href: URL.createObjectURL(blob), download: "dfbench-result.json" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

async function copyLink(id) {
  const link = new URL(`/r/${id}`, location.href).href;
  try {
    await navigator.clipboard.writeText(link);
    announce(text("copied"));
    return text("copied");
  } catch (error) {
    announce(text("copy.failed"));
    return text("copy.failed");
  }
}

function share(job, gone) {
  const minutes = Math.max(1, Math.round(job.expires_in / 60));
  const note = make("p", { class: "hint" }, text("expires", { minutes }));
  return make("div", { class: "share" },
    make("button", { type: "button", class: "button", onclick: () => download(job) }, text("json")),
    make("button", { type: "button", class: "button", onclick: async () => { note.textContent = await copyLink(job.id); } }, text("share")),
    make("button", { type: "button", class: "button", onclick: gone }, text("remove")),
    note);
}

/** Draw a job that is done; `file` is the visitor's, or null where only the link is known. Returns what ends it. */
export function showResult(job, file, models, again, gone) {
  const result = job.result;
  const root = byId("result");
  const band = models?.find((model) => model.name === job.model)?.calibration || null;
  const kind = { "likely fake": "fake", "likely real": "real" }[result.verdict] || "";
  const blocks = [];
  let still = file && result.media && result.faces.length ? stage(file, result, (t, gap) => blocks.forEach((block) => block.follow(t, gap))) : null;
  blocks.push(...result.faces.map((face, number) => faceBlock(job, face, number, band, (seconds) => still?.jump(seconds))));
  const notes = [];
  if (result.media?.note) notes.push(text("note", { note: result.media.note }));
  const more = /^(\d+) more faces/.exec(result.notes.find((note) => /more faces/.test(note)) || "");
  if (more) notes.push(text("left", { n: more[1] }));
  root.replaceChildren(
    make("div", { class: `verdict ${kind}` }, make("h2", { id: "verdict", tabindex: -1 }, verdict(result))),
    make("p", { class: "why" }, reason(result)),
    figures(result),
    ...(still ? [still.element] : !file && result.faces.length ? [make("p", { class: "hint" }, text("media.shared"))] : []),
    ...notes.map((note) => make("p", { class: "hint" }, note)),
    ...blocks.map((block) => block.element),
    share(job, gone),
    make("p", { class: "actions" }, make("button", { type: "button", class: "button main", onclick: again }, text("again"))));
  root.hidden = false;
  return () => { still?.close(); still = null; };
}
