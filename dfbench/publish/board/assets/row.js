  // --- A row's page --------------------------------------------------------------------------------

  const card = (title, text, ...content) => make("section", { class: "card" }, make("h3", {}, title), text && make("p", {}, text), content);
  const full = (section) => { section.classList.add("full"); return section; };
  const facts = (pairs) => make("dl", { class: "facts" }, pairs.filter(([, value]) => known(value) && value !== "").map(([key, value]) => [make("dt", {}, key), make("dd", {}, value)]));
  const scrolled = (label, table) => make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, table);
  function plain(caption, columns, lines) {
    const head = make("tr", {}, columns.map(([label, kind]) => make("th", { scope: "col", class: kind }, label)));
    const body = lines.map((line) => make("tr", {}, line.map((cell, k) => make(k ? "td" : "th", k ? { class: columns[k][1] } : { scope: "row" }, cell))));
    return make("table", { class: "plain" }, make("caption", { class: "sr" }, caption), make("thead", {}, head), make("tbody", {}, body));
  }
  function whisker(value, pair, floor) {
    const at = (v) => 4 + (Math.max(0, v - floor) / (1 - floor)) * 92;
    const svg = draw("svg", { viewBox: "0 0 100 14", width: 100, height: 14, "aria-hidden": "true" }, draw("path", { class: "base", d: "M4 7H96" }));
    if (pair && pair[0] !== null) svg.append(draw("path", { class: "whisker", d: `M${at(pair[0]).toFixed(1)} 7H${at(pair[1]).toFixed(1)}` }));
    if (value !== null) svg.append(draw("circle", { class: "dot", cx: at(value).toFixed(1), cy: 7, r: 3.5 }));
    return svg;
  }

  /** Radio buttons over the mean and each seed; ``show`` is called with the choice. */
  function chooser(row, name, legend, withMean, show) {
    const options = row.runs.map((run, k) => [String(k), `seed ${run.seed}`]);
    if (withMean && row.runs.length > 1) options.unshift(["mean", `mean of ${row.runs.length}`]);
    show(options[0][0]);
    if (options.length < 2) return null;
    return make("fieldset", { class: "seg" }, make("legend", {}, legend), options.map(([value, label], k) =>
      make("label", {}, make("input", { type: "radio", name, value, checked: k === 0, onchange: () => show(value) }), label)));
  }

  /** Each experience's metric over the run: dotted before training on it; labelled at the end, colour and shape. */
  function curves(table, row, matrix, band) {
    const names = table.experiences, size = names.length;
    const W = Math.max(290, Math.min(560, window.innerWidth - 62)), narrow = W < 480, H = narrow ? 280 : 330, L = narrow ? 34 : 44, R = narrow ? 92 : 128, T = 12, B = 44;
    const series = names.map((_, j) => ({ values: matrix.map((line) => line[j]), spreads: matrix.map((_line, i) => (band ? spread(row.runs.map((run) => run.matrix[i][j])) : null)), k: j }));
    const axis = fitted(series.flatMap(({ values, spreads }) => values.flatMap((v, i) => (known(v) ? [Math.max(0, v - (spreads[i] || 0)), Math.min(1, v + (spreads[i] || 0))] : []))));
    const x = (i) => L + (size > 1 ? (i * (W - L - R)) / (size - 1) : 0), y = (v) => T + ((axis.high - v) * (H - T - B)) / (axis.high - axis.low);
    const svg = draw("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${METRIC[table.headline]} on each experience after each training; the same figures are in the R matrix` });
    series.forEach((one, j) => panelOf(svg, [one], j ? { ...axis, ticks: [] } : axis, { left: L, top: T, width: W - L - R, height: H - T - B }, names, j, !j && table.headline.endsWith("auc")));
    const step = Math.ceil(size / (narrow ? 3 : 8));
    names.forEach((name, i) => {
      if (i % step) return;
      svg.append(write({ class: "axis-text", x: x(i), y: H - B + 18 + ((i / step) % 2) * 14, "text-anchor": i ? "middle" : "start" }, name.length > 14 ? `${name.slice(0, 13)}…` : name));
    });
    const labels = series.map(({ values }, j) => ({ name: names[j], j, at: y(values.filter(known).at(-1) ?? axis.low) })).sort((a, b) => a.at - b.at);
    labels.forEach((label, k) => { label.y = k ? Math.max(label.at, labels[k - 1].y + 15) : Math.max(label.at, T + 4); });
    const over = labels.length ? labels.at(-1).y - (H - B + 6) : 0;
    if (over > 0) labels.forEach((label) => { label.y -= over; });
    for (const { name, j, at, y: place } of labels) {
      const text = write({ class: "curve-name", x: W - R + 22, y: place + 4 }, name.length > (narrow ? 10 : 15) ? `${name.slice(0, narrow ? 9 : 14)}…` : name);
      text.style.fill = hue(j);
      const leader = draw("path", { class: "leader", d: `M${W - R + 7} ${at.toFixed(1)}L${W - R + 19} ${place.toFixed(1)}` });
      leader.style.stroke = hue(j);
      svg.append(leader, text);
    }
    return [svg, make("p", { class: "axis-note" }, `${band ? `Mean of n = ${seedCount(row)}; bands: ± one standard deviation. ` : `n = 1 seed. `}${begins(axis)}`)];
  }
  function matrixCards({ row, table }) {
    const all = row.runs.map((run) => run.matrix), middle = middleOf(table, all);
    const map = make("div"), drawing = make("div");
    const several = table.experiences.length > 1 && all[0].filter((line) => line.some((v) => v !== null)).length > 1;
    const choice = chooser(row, "matrix-seed", "Show", true, (value) => {
      const matrix = value === "mean" ? averaged(row) : row.runs[Number(value)].matrix;
      map.replaceChildren(scrolled("R matrix", heatMap(table, matrix, middle)));
      if (several) drawing.replaceChildren(...curves(table, row, matrix, value === "mean"));
    });
    const metric = METRIC[table.headline];
    return [
      card("R matrix", `${metric} after training on (row), tested on (column).`, choice, map, scale(middle, all)),
      several ? card("What was kept, and what was lost", `${metric} on each experience over the run; dotted and hollow before training on it.`, drawing)
              : card("What was kept, and what was lost", "This run was trained once, on everything: there is nothing it could forget."),
    ];
  }
  function sources({ row, table }) {
    const place = make("div"), two = row.runs[0].per_experience.some((e) => e.frame_auc !== undefined);
    const floor = two ? 0.4 : 0;
    const choice = chooser(row, "source-seed", "Show", true, (value) => {
      const runs = value === "mean" ? row.runs : [row.runs[Number(value)]];
      const lines = table.experiences.map((name, j) => {
        const figure = (key) => mean(runs.map((run) => run.per_experience[j][key]));
        const final = mean(runs.map((run) => run.matrix.at(-1)[j]));
        const pair = runs.length === 1 && runs[0].intervals ? runs[0].intervals[j] : null;
        const values = runs.map((run) => run.matrix.at(-1)[j]);
        const range = runs.length > 1 ? [Math.min(...values), Math.max(...values)] : pair;
        const e = runs[0].per_experience[j];
        const more = two ? ["video_auc", "eer", "accuracy_real", "accuracy_fake", "log_loss"].map((key) => num(figure(key))) : [];
        return [name, num(final), ends(range), whisker(final, range, floor), ...more, e.n_videos && e.n_videos !== e.n ? `${whole(e.n_videos)} / ${whole(e.n)}` : whole(e.n)];
      });
      const what = runs.length > 1 ? "range of seeds" : "95 % interval";
      const more = two ? [["video AUC", "num"], ["EER ↓", "num"], ["acc. real", "num"], ["acc. fake", "num"], ["log loss ↓", "num"]] : [];
      place.replaceChildren(scrolled("The final model on each test set", plain("The final model on each test set", [["experience", ""], [METRIC[table.headline], "num"], [what, "num"], [floor ? "from .4 to 1" : "from 0 to 1", "num"], ...more, [two ? "videos / frames" : "samples", "num"]], lines)));
    });
    return full(card("Each source, at the end", "The final model on every test set. Choose a seed for its intervals.", choice, place));
  }
  function checked({ row, table }) {
    const lines = row.checks.map(([status, detail], k) => [table.checks[k][1], make("span", { class: `outcome ${status.replace(" ", "-")}` }, status), detail]);
    return full(card("What was checked", "A high figure can have other reasons than detection. None of these changes a rank.",
      make("div", { class: "checked" }, plain("What was checked", [["question", ""], ["", ""], ["", ""]], lines))));
  }
  function seedTable({ row, table }) {
    const lines = row.runs.map((run) => [
      make("a", { href: `results/${encodeURIComponent(run.run)}.json` }, `seed ${run.seed}`), num(run.average), ends(run.interval), num(run.forgetting), ends(run.forgetting_interval),
      `${whole(run.seconds.total)} s`, run.steps ? whole(run.steps) : "–", bytes(run.peak[0]), make("span", { class: `state ${run.status}` }, run.status),
    ]);
    return full(card("Seeds", `Each links to its record; the scores of all of them are one file in scores/. Intervals are over ${{ identity: "people", video: "videos", sample: "samples" }[row.unit]}.`,
      scrolled("Seeds", plain("Runs of this row", [["run", ""], [`average ${METRIC[table.headline]}`, "num"], ["95 % interval", "num"], ["forgetting", "num"], ["95 % interval", "num"], ["time", "num"], ["steps", "num"], ["peak memory", "num"], ["status", ""]], lines))));
  }
  function commands({ row, table }) {
    return full(card("Reproduce", `Each line trains one seed and ends in the same scores in the same environment. A stream that does not come with dfbench is given as its .yaml file instead of ${table.benchmark}.`,
      row.runs.map((run) => make("div", { class: "command" }, make("pre", {}, make("code", {}, run.command)), copyButton(run.command, "Command")))));
  }
  function specification({ row, table }) {
    const pairs = (config, prefix = "") => Object.entries(config).map(([key, value]) => [prefix + key, make("code", {}, JSON.stringify(value))]);
    return card("Specification", "All that decides the result, but for the seed.", facts([
      ["detector", row.detector], ["preset", row.preset], ...pairs(row.detector_config), ["tuned", row.tuned.join(", ") || null],
      ["strategy", row.strategy], ...pairs(row.strategy_config, "strategy."),
      ["memory budget", `${whole(row.budget)} samples`], ["benchmark", table.benchmark], ["data", make("code", {}, table.fingerprint)], ["row", make("code", {}, row.id)],
    ]));
  }
  function environments({ row }) {
    const groups = new Map();
    for (const run of row.runs) groups.set(run.environment, [...(groups.get(run.environment) || []), run]);
    return card("Environment and cost", null, [...groups].map(([number_, runs]) => {
      const e = row.environments[number_];
      const packages = Object.entries(e.packages).filter(([, version]) => version).map(([name, version]) => `${name} ${version}`).join(", ");
      const plugins = Object.entries(e.plugins).map(([name, version]) => `${name} ${version}`).join(", ");
      const gits = [...new Set(runs.map((run) => run.git && run.git.commit ? `${String(run.git.commit).slice(0, 12)}${run.git.dirty ? ", with uncommitted changes" : ""}` : "unknown"))];
      return facts([
        ["seeds", runs.map((run) => run.seed).join(", ")], ["device", `${e.device_name || e.device} (${e.device}, ${e.threads ?? "?"} threads)`],
        ["time", `${whole(mean(runs.map((r) => r.seconds.train)))} s training, ${whole(mean(runs.map((r) => r.seconds.evaluate)))} s scoring`],
        ["stored", `${runs[0].stored.map(whole).join(", ")} samples after each training (${bytes(row.stored[1])}), other state ${bytes(row.stored[2])}`],
        ["parameters", runs[0].parameters ? whole(runs[0].parameters) : null],
        ["what it did", Object.entries(runs[0].effects).map(([name, value]) => `${name} ${value}`).join(", ") || null],
        ["python", e.python], ["platform", e.platform], ["packages", packages], ["plugins", plugins], ["dfbench commit", gits.join("; ")],
        ["run on", [...new Set(runs.map((run) => run.created))].join(", ")], ["resumed", runs.some((r) => r.resumed) ? runs.map((r) => r.resumed).join(", ") + " times" : null],
      ]);
    }));
  }
  function checkpoints({ row }) {
    return full(card("Checkpoint and verification", null, make("div", { class: "several" }, row.runs.map((run) => {
      const v = run.verification;
      const words = { scores: "every figure follows from the scores", identical: "trained again: identical scores", tolerance: "trained again: metrics within tolerance" };
      return facts([
        ["seed", String(run.seed)], ["weights", run.weights ? make("code", { title: "The record has all 64 digits" }, `sha256:${run.weights}…`) : "not recorded"], ["scores", run.scores ? make("code", { title: "The record has all 64 digits" }, `sha256:${run.scores}…`) : null],
        ["published", run.checkpoint ? `${run.checkpoint.repo}${run.checkpoint.revision ? ` @ ${run.checkpoint.revision}` : ""}` : "no"],
        ["status", run.status], ["verified", v ? [words[v.agreement], v.difference ? `average ${num(v.difference, 4)}` : "", v.by ? `by ${v.by}` : "", v.device ? `on ${v.device}` : "", v.date].filter(Boolean).join(", ") : null],
      ]);
    }))));
  }
  function verdict({ row, table }) {
    const [strategy, detector, stars] = row.best || [];
    const one = row.runs.length === 1 ? " With one seed, what training again would change is unknown." : "";
    if (row.baseline) return `Weights as they are: ${row.bound_words}; not compared with continual rows.`;
    if (row.bound) return `A bound: ${row.bound_words}; not compared with continual rows.${one}`;
    if (row.mark === "best") return `The best continual row ${stars > 1 ? `of its group on ${table.key}` : `on ${table.key}`}.${one}`;
    if (!row.against_best || !row.best) return `Not compared with other rows.${one}`;
    const [d, low, high] = row.against_best;
    const p = row.p < 0.001 ? "p < 0.001" : `p = ${num(row.p)}`;
    const words = row.mark === "tied" ? "not significantly worse than" : "significantly worse than";
    return `${words[0].toUpperCase()}${words.slice(1)} the best row of its group, ${strategy} with ${detector}: ${METRIC[table.headline]} ${num(d)} [${num(low)}, ${num(high)}], ${p} after Holm's correction.${one}`;
  }
  function figures({ row, table }) {
    const a = row.average, seeds = seedCount(row);
    const item = (label, value, ...under) => make("div", {}, make("dt", {}, label), make("dd", {}, value, under.map((text) => make("small", {}, text))));
    return make("dl", { class: "figures" },
      item(`Average ${METRIC[table.headline]}`, a ? num(a.mean) : "–", a && a.low !== null ? `95 %: ${num(a.low)} – ${num(a.high)}` : "no interval", a && a.spread !== null ? `± ${num(a.spread)} over ${seeds}` : seeds),
      item("Forgetting", num(row.forgetting[0]), row.forgetting[1] === null ? "lower is better" : `± ${num(row.forgetting[1])}, lower is better`),
      item("Backward transfer", num(row.bwt[0]), row.bwt[1] === null ? "" : `± ${num(row.bwt[1])}`),
      item("Learning accuracy", num(row.learning_accuracy[0]), row.learning_accuracy[1] === null ? "" : `± ${num(row.learning_accuracy[1])}`),
      row.next[0] === null ? "" : item("Next experience", num(row.next[0]), row.next[1] === null ? "" : `± ${num(row.next[1])}`, "right before training on it"),
      row.fpr_drift[0] === null ? "" : item("Threshold drift", num(row.fpr_drift[0]), "mean |false-positive rate − 1 %| of thresholds fixed earlier", `they find ${num(row.carried_tpr[0])} of the fakes`),
      row.generalisation ? item("Generalisation", num(row.generalisation[0]), `untrained ${num(row.generalisation[2])}`, `on ${row.unseen.length > 3 ? `${row.unseen.length} unseen sets` : row.unseen.join(", ")}`) : "",
      row.robustness ? item("Robustness", num(row.robustness[0]), `undegraded ${num(row.robustness[2])}`) : "",
      item("Memory at the end", row.stored[0] ? whole(row.stored[0]) : "nothing", row.stored[0] ? `samples, ${bytes(row.stored[1])}` : "", row.stored[2] ? `other state ${bytes(row.stored[2])}` : ""),
      row.passes ? item("Compute", row.relative_compute ? times(row.relative_compute) : `${whole(row.passes)} passes`, row.relative_compute ? "relative to plain training (1 ×)" : "", `${row.relative_compute ? `${whole(row.passes)} passes; ` : ""}one pass = one picture forward and backward`) : "",
      item("Time", row.seconds === null ? "–" : row.seconds < 600 ? `${whole(row.seconds)} s` : `${whole(row.seconds / 60)} min`, row.devices.join(", "), row.steps ? `${whole(row.steps)} steps` : ""),
      row.intransigence ? item("Intransigence", num(row.intransigence[0]), "lower is better", row.intransigence[1] ? "a stand-in: against a run that kept all data so far, with more training than one budget" : "a stand-in: against a run on all data at once, which saw later experiences too") : "");
  }
  function subjectLine({ row, table }) {
    const { badge, meaning, description } = table, about = data.strategies[row.strategy];
    const paper = about && about[1] ? [" · ", about[2] ? make("a", { href: about[2] }, about[1]) : about[1]] : [];
    return [
      about ? make("p", { class: "what" }, make("b", {}, row.strategy), ` ${about[0]}`, paper) : null,
      description || badge ? make("p", { class: "what" }, make("b", {}, table.key), " ", badge ? make("span", { class: "badge", title: meaning }, badge) : "", ` ${description}`) : null,
    ];
  }
  function openRow(found) {
    const { row, table } = found;
    const title = make("h2", { tabindex: "-1" }, `${row.strategy} `, make("span", {}, `with ${row.detector}`));
    const sub = make("p", { class: "sub" }, [table.key, `preset ${row.preset}`, seedCount(row), ...row.options].map((text) => make("span", {}, `${text} `)), make("span", { class: `state ${row.status}` }, ` ${row.status}`));
    detail.replaceChildren(
      make("a", { class: "back", href: viewOf(table.key) }, `← All rows of ${table.key}`), title, sub, ...subjectLine(found).filter(Boolean), figures(found),
      make("p", { class: "verdict" }, verdict(found)),
      row.notes.length ? make("div", { class: "notes", role: "note" }, make("b", {}, "About these data"), row.notes.map((note) => make("p", {}, note))) : "",
      make("div", { class: "grid" }, matrixCards(found), furtherCards(found), sources(found), checked(found), seedTable(found), commands(found), specification(found), environments(found), checkpoints(found)));
    document.title = `${row.strategy} with ${row.detector} · dfbench leaderboard`;
    return title;
  }
