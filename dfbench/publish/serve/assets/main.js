// The page: choose, wait, read. One view is shown at a time; the address of a result is the result's own.

import * as api from "./api.js";
import { setUpCamera } from "./camera.js";
import { announce, byId, make } from "./dom.js";
import { apply, choose, onLanguage, text, textOr } from "./language.js";
import { showModel } from "./model.js";
import { showResult, verdict } from "./result.js";

const VIEWS = ["ask", "work", "trouble", "result"];
const MB = 1e6;
const state = { models: null, limits: null, job: null, file: null, trouble: null, stands: null, stop: null, end: null };

function view(name) {
  for (const each of VIEWS) byId(each).hidden = each !== name;
}

function again() {
  state.end?.();
  Object.assign(state, { job: null, file: null, trouble: null, end: null });
  history.pushState(null, "", "/");
  view("ask");
  byId("file").focus();
}

async function gone() {
  const { id } = state.job;
  await api.remove(id).catch(() => null);
  again();
  announce(text("removed"));
}

function showTrouble(error, focus = true) {
  state.trouble = error;
  const mb = state.limits ? Math.round(state.limits.bytes / MB) : "?";
  byId("trouble-text").textContent = textOr(`error.${error.code}`, { mb, after: error.after }, error.message);
  view("trouble");
  if (focus) byId("trouble-title").focus();
}

function showDone(focus = true) {
  state.end?.();
  state.end = showResult(state.job, state.file, state.models, again, gone);
  view("result");
  if (focus) byId("verdict").focus();
}

function showStage(now) {
  const bar = byId("bar");
  const { done, total } = now.progress;
  let said = text("reading");
  if (now.state === "queued") said = now.ahead ? text("waiting", { ahead: now.ahead }) : text("next");
  else if (total) said = text("frames", { done, total });
  if (now.state === "running" && total) { bar.max = total; bar.value = done; } else bar.removeAttribute("value");
  byId("stage").textContent = said;
  announce(said);
}

async function ask(file) {
  const stop = new AbortController();
  Object.assign(state, { file, stop, job: null, trouble: null });
  view("work");
  byId("work-title").focus();
  const bar = byId("bar");
  try {
    if (state.limits && file.size > state.limits.bytes) throw new api.Refused("too_large", "too large");
    const made = await api.upload(file, byId("model-choice").value, (sent, total) => {
      bar.max = total;
      bar.value = sent;
      byId("stage").textContent = text("sending", { percent: Math.round((100 * sent) / total) });
    }, stop.signal);
    state.job = made;
    const ended = await api.follow(made.id, showStage, stop.signal);
    state.job = ended;
    if (ended.state === "failed") throw new api.Refused(ended.error.code, ended.error.message);
    history.pushState(null, "", `/r/${ended.id}`);
    showDone();
    announce(text("done", { verdict: verdict(ended.result) }));
  } catch (error) {
    if (error.name === "AbortError") return;
    showTrouble(error instanceof api.Refused ? error : new api.Refused("unexpected", String(error)));
  }
}

async function cancel() {
  state.stop?.abort();
  if (state.job) await api.remove(state.job.id).catch(() => null);
  again();
}

async function example(name) {
  const response = await fetch(`/static/examples/${name}`);
  await ask(new File([await response.blob()], name));
}

async function loadModels() {
  for (;;) {
    try {
      const found = await api.models();
      Object.assign(state, { models: found.models, limits: found.limits });
      break;
    } catch (error) {
      if (error.code !== "no_worker" && error.code !== "network") return;
      await new Promise((resolve) => setTimeout(resolve, 2000)); // workers load their models
    }
  }
  byId("model-choice").replaceChildren(...state.models.map((model) => make("option", { value: model.name }, model.name)));
  byId("models").hidden = state.models.length < 2;
  describe();
}

function describe() {
  if (!state.models) return;
  const { limits } = state;
  const minutes = (seconds) => Math.max(1, Math.round(seconds / 60));
  const chosen = state.job?.model || byId("model-choice").value;
  showModel(state.models.find((model) => model.name === chosen) || state.models[0]);
  byId("limits").textContent = text("limits", { mb: Math.round(limits.bytes / MB), minutes: minutes(limits.video_seconds), frames: limits.frames });
  byId("privacy-text").textContent = text("privacy", { minutes: minutes(limits.keep_seconds) });
}

async function openShared() {
  const found = /^\/r\/([\w-]+)$/.exec(location.pathname);
  if (!found) {
    view("ask");
    return;
  }
  if (state.job?.id === found[1] && state.job.result) {
    showDone();
    return;
  }
  state.file = null;
  view("work");
  try {
    state.job = await api.follow(found[1], showStage, new AbortController().signal);
    if (state.job.state === "failed") throw new api.Refused(state.job.error.code, state.job.error.message);
    showDone();
  } catch (error) {
    showTrouble(error instanceof api.Refused ? error : new api.Refused("unexpected", String(error)));
  }
}

function setUpDrop() {
  const drop = byId("drop");
  // Anywhere on the page: a file that misses the field must not replace the page.
  for (const name of ["dragenter", "dragover"]) {
    addEventListener(name, (event) => { event.preventDefault(); drop.classList.toggle("over", !byId("ask").hidden); });
  }
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const file = event.dataTransfer.files[0];
    if (file && byId("work").hidden) ask(file);
  });
  byId("file").addEventListener("change", (event) => { if (event.target.files[0]) ask(event.target.files[0]); event.target.value = ""; });
  addEventListener("paste", (event) => { const file = event.clipboardData?.files[0]; if (file && !byId("ask").hidden) ask(file); });
}

onLanguage(() => {
  describe();
  if (!byId("result").hidden && state.job?.result) showDone(false);
  if (!byId("trouble").hidden && state.trouble) showTrouble(state.trouble, false);
});
for (const button of document.querySelectorAll("[data-language]")) button.addEventListener("click", () => choose(button.dataset.language));
for (const button of document.querySelectorAll("[data-example]")) button.addEventListener("click", () => example(button.dataset.example));
for (const button of document.querySelectorAll("[data-again]")) button.addEventListener("click", again);
byId("cancel").addEventListener("click", cancel);
byId("model-choice").addEventListener("change", describe);
setUpDrop();
setUpCamera(ask, (line) => showTrouble(new api.Refused("camera", line)));
addEventListener("popstate", openShared);
apply();
await Promise.all([openShared(), loadModels()]);
if (state.job?.result) showDone(false); // the band of a time line comes with the models
