// The model's card in plain words, from what the API says of it.

import { byId, make } from "./dom.js";
import { text } from "./language.js";

const whole = (share) => (100 * share).toFixed(1).replace(/\.0$/, "");

function card(model) {
  const c = model.calibration;
  const scope = { laboratory: "model.laboratory", deepfakes: "model.deepfakes" }[model.scope] || "model.other";
  const rates = c && text("model.rates", {
    above: c.fake_above.toFixed(2), below: c.real_below.toFixed(2), fpr: whole(c.false_positive_rate.value),
    fprLow: whole(c.false_positive_rate.low), fprHigh: whole(c.false_positive_rate.high),
    fnr: whole(c.false_negative_rate.value), none: whole(c.inconclusive.value),
  });
  return [
    make("p", {}, text(scope)),
    make("p", {}, text("model.what", { name: model.name, data: model.trained_on, sets: model.experiences.join(", "), strategy: model.strategy })),
    make("p", {}, rates || text("model.uncalibrated")),
    make("p", { class: "hint" }, text("model.own"), " ", make("span", { lang: "en" }, `${model.intended_use} ${model.limits}`)),
  ];
}

/** Show the card of one model, and the banner that it calls for. */
export function showModel(model) {
  byId("card").replaceChildren(...card(model));
  const banner = byId("banner");
  banner.hidden = model.scope === "deepfakes";
  banner.textContent = text(model.scope === "laboratory" ? "banner.laboratory" : "model.other");
}
