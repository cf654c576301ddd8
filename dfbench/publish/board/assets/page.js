"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const board = document.getElementById("board");
  const detail = document.getElementById("detail");
  const tabs = [...document.querySelectorAll('[role="tab"]')];
  const panels = [...document.querySelectorAll(".panel")];
  const METRIC = { auc: "AUC", video_auc: "video AUC", accuracy: "accuracy" };
  const rows = new Map();
  for (const table of data.tables) for (const row of table.rows) rows.set(row.id, { row, table });
  document.documentElement.classList.add("js");

  // --- Small things ------------------------------------------------------------------------------

  /** An element with properties and children; texts become text nodes, so nothing in a record is ever markup. */
  function make(name, properties, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(properties || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (key === "class") element.className = value;
      else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
    return element;
  }
  function draw(name, attributes, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }
  const minus = (text) => text.replace("-", "−");
  const num = (value, digits = 3) => (value === null || value === undefined ? "–" : minus(value.toFixed(digits)));
  const pm = (value, spread) => (spread === null || spread === undefined ? num(value) : `${num(value)} ± ${num(spread)}`);
  const ends = (pair) => (pair && pair[0] !== null ? `${num(pair[0])} – ${num(pair[1])}` : "–");
  const whole = (value) => (value === null || value === undefined ? "–" : Math.round(value).toLocaleString("en").replaceAll(",", "\u202f"));
  const bytes = (value) => {
    if (value === null || value === undefined) return "–";
    for (const [unit, factor] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) if (value >= factor) return `${(value / factor).toFixed(1)} ${unit}`;
    return `${value} B`;
  };
  const mean = (values) => (values.length && values.every((v) => v !== null && v !== undefined) ? values.reduce((a, b) => a + b, 0) / values.length : null);

  // --- Tables: sorting and filtering -----------------------------------------------------------------

  /** null sorts last whichever way; numbers as numbers. */
  function compare(a, b, sign) {
    if (a === "" || b === "") return (a === "") - (b === "");
    const x = Number(a), y = Number(b);
    if (!Number.isNaN(x) && !Number.isNaN(y)) return sign * (x - y);
    return sign * a.localeCompare(b, "en", { numeric: true });
  }
  function sortTable(table, header, direction) {
    const index = header.cellIndex;
    const sign = direction === "ascending" ? 1 : -1;
    const body = table.tBodies[0];
    const keyed = [...body.rows].map((row, at) => [row.cells[index].dataset.v ?? "", at, row]);
    keyed.sort((a, b) => compare(a[0], b[0], sign) || a[1] - b[1]);
    body.append(...keyed.map((entry) => entry[2]));
    for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", other === header ? direction : "none");
  }
  function wireSorting(table, told) {
    for (const header of table.tHead.rows[0].cells) {
      header.querySelector("button").addEventListener("click", () => {
        const now = header.getAttribute("aria-sort");
        const other = { ascending: "descending", descending: "ascending" };
        sortTable(table, header, other[now] || header.dataset.order);
        told();
      });
    }
  }
  const sorted = (table) => [...table.tHead.rows[0].cells].find((cell) => cell.getAttribute("aria-sort") !== "none");

  function wirePanel(panel) {
    const table = panel.querySelector("table.rows"), form = panel.querySelector("form");
    const status = panel.querySelector(":scope > [data-status]");
    const find = form.querySelector("[data-find]"), bounds = form.querySelector("[data-bounds]");
    const selects = [...form.querySelectorAll("[data-filter]")];
    const order = form.querySelector("[data-sort-select]");
    const lines = [...table.tBodies[0].rows].map((row) => [row, row.textContent.toLowerCase()]);
    function tell() {
      const header = sorted(table);
      const shown = lines.filter(([row]) => !row.hidden).length;
      const way = header.getAttribute("aria-sort");
      status.textContent = `${shown} of ${lines.length} rows, sorted by ${header.textContent.trim().replace(/\d\.\d+/g, "")}, ${way}`;
      order.value = [...order.options].some((o) => o.value === header.dataset.column) ? header.dataset.column : "average";
    }
    function filter() {
      const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const [row, text] of lines) {
        row.hidden =
          selects.some((select) => select.value && row.dataset[select.dataset.filter] !== select.value) ||
          (bounds && !bounds.checked && row.classList.contains("bound")) ||
          words.some((word) => !text.includes(word));
      }
      const shown = lines.some(([row]) => !row.hidden);
      panel.querySelector("[data-none]").hidden = shown;
      form.querySelector("[data-reset]").hidden = !(find.value || selects.some((s) => s.value) || (bounds && !bounds.checked));
      tell();
    }
    form.addEventListener("input", (event) => { if (event.target !== order) filter(); });
    form.addEventListener("submit", (event) => event.preventDefault());
    form.querySelector("[data-reset]").addEventListener("click", (event) => {
      event.preventDefault();
      form.reset();
      filter();
      find.focus();
    });
    order.addEventListener("change", () => {
      const header = [...table.tHead.rows[0].cells].find((cell) => cell.dataset.column === order.value);
      sortTable(table, header, header.dataset.order);
      tell();
    });
    form.querySelector("[data-direction]").addEventListener("click", () => sorted(table).querySelector("button").click());
    wireSorting(table, tell);
    filter();
  }
  for (const panel of panels) if (panel.querySelector("table.rows")) wirePanel(panel);
  for (const section of document.querySelectorAll(".reported")) {
    const table = section.querySelector("table"), status = section.querySelector("[data-status]");
    wireSorting(table, () => {
      const header = sorted(table);
      status.textContent = `sorted by ${header.textContent.trim()}, ${header.getAttribute("aria-sort")}`;
    });
  }

  // --- Tabs ----------------------------------------------------------------------------------------

  function select(key) {
    const chosen = Math.max(0, tabs.findIndex((tab) => tab.dataset.key === key));
    tabs.forEach((tab, i) => {
      tab.setAttribute("aria-selected", String(i === chosen));
      tab.tabIndex = i === chosen ? 0 : -1;
      panels[i].hidden = i !== chosen;
    });
    const tab = tabs[chosen], list = tab && tab.parentElement;
    if (tab && (tab.offsetLeft < list.scrollLeft || tab.offsetLeft + tab.offsetWidth > list.scrollLeft + list.clientWidth)) {
      list.scrollLeft = tab.offsetLeft - 16;
    }
  }
  tabs.forEach((tab, i) => {
    tab.addEventListener("click", () => { location.hash = `tab=${encodeURIComponent(tab.dataset.key)}`; });
    tab.addEventListener("keydown", (event) => {
      const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: tabs.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const next = tabs[(to + tabs.length) % tabs.length];
      next.focus();
      next.click();
      next.scrollIntoView({ block: "nearest", inline: "nearest" });
    });
  });

  // --- A row's page --------------------------------------------------------------------------------

  // Pale to deep in even steps of lightness, one hue: it reads without colour, and in print.
  const RAMP = [[246, 241, 228], [203, 224, 212], [143, 198, 188], [80, 161, 156], [28, 117, 116], [5, 72, 77]];
  function shade(share) {
    const at = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1), low = Math.min(Math.floor(at), RAMP.length - 2);
    const rgb = RAMP[low].map((value, k) => Math.round(value + (RAMP[low + 1][k] - value) * (at - low)));
    const [r, g, b] = rgb.map((v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    const light = 0.2126 * r + 0.7152 * g + 0.0722 * b;
    return { fill: `rgb(${rgb.join(",")})`, ink: 1.05 / (light + 0.05) > (light + 0.05) / 0.05 ? "#fff" : "#000" };
  }
  function floorOf(table, matrices) {
    if (table.headline.endsWith("auc")) return 0.5;
    return Math.min(...matrices.flat(2).filter((v) => v !== null), 1);
  }
  function averaged(row) {
    const all = row.runs.map((run) => run.matrix);
    return all[0].map((line, i) => line.map((_, j) => mean(all.map((m) => m[i][j]))));
  }
  function heatMap(table, matrix, low) {
    const head = make("tr", {}, make("th", { scope: "col" }, "after ↓ tested on →"), table.experiences.map((name) => make("th", { scope: "col" }, name)));
    const body = matrix.map((line, i) =>
      line.every((value) => value === null) ? null :
      make("tr", {}, make("th", { scope: "row" }, table.experiences[i]), line.map((value, j) => {
        if (value === null) return make("td", { class: "empty" }, make("span", { class: "sr" }, "not measured"));
        const cell = make("td", { class: i === j ? "diagonal" : j > i ? "ahead" : "" }, num(value));
        const colour = shade((value - low) / (1 - low));
        cell.style.backgroundColor = colour.fill;
        cell.style.color = colour.ink;
        return cell;
      })));
    return make("table", { class: "heat" }, make("caption", { class: "sr" }, "R matrix: row, after training on; column, tested on"), make("thead", {}, head), make("tbody", {}, body));
  }
  function scale(low) {
    const steps = [0, 0.2, 0.4, 0.6, 0.8, 1].map((share) => {
      const box = make("i");
      box.style.backgroundColor = shade(share).fill;
      return box;
    });
    return make("p", { class: "scale", "aria-hidden": "true" }, low === 0.5 ? "≤ .5 (chance)" : num(low, 2), make("span", {}, steps), "1", make("span", {}, " · framed: just learned · italic: not yet trained on"));
  }

  const SHAPES = [
    (x, y) => draw("circle", { cx: x, cy: y, r: 4 }),
    (x, y) => draw("rect", { x: x - 3.6, y: y - 3.6, width: 7.2, height: 7.2 }),
    (x, y) => draw("path", { d: `M${x} ${y - 5}l4.8 8.4h-9.6z` }),
    (x, y) => draw("path", { d: `M${x} ${y - 5.2}l5.2 5.2l-5.2 5.2l-5.2 -5.2z` }),
    (x, y) => draw("path", { d: `M${x} ${y + 5}l4.8 -8.4h-9.6z` }),
  ];
  /** Each experience's metric over the run: dashed before it was learned; labelled at the end, colour and shape. */
  function curves(table, matrix) {
    const size = table.experiences.length, W = Math.max(290, Math.min(560, window.innerWidth - 62)), narrow = W < 480, H = narrow ? 280 : 330, L = narrow ? 28 : 40, R = narrow ? 92 : 128, T = 12, B = 44;
    const least = Math.min(...matrix.flat().filter((v) => v !== null)), tick = least < 0.5 ? 0.2 : 0.1;
    const low = Math.max(0, Math.floor(Math.min(least, 0.9) / tick + 1e-9) * tick);
    const x = (i) => L + (size > 1 ? (i * (W - L - R)) / (size - 1) : 0);
    const y = (value) => T + ((1 - value) * (H - T - B)) / Math.max(1 - low, 0.05);
    const svg = draw("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${METRIC[table.headline]} on each experience after each training; the same figures stand in the R matrix` });
    for (let v = low; v <= 1.0001; v += tick) {
      svg.append(draw("line", { class: "curve-grid", x1: L, x2: W - R, y1: y(v), y2: y(v) }));
      const label = draw("text", { class: "curve-axis", x: L - 8, y: y(v) + 4, "text-anchor": "end" });
      label.textContent = v.toFixed(1);
      svg.append(label);
    }
    const step = Math.ceil(size / (narrow ? 3 : 8));
    table.experiences.forEach((name, i) => {
      if (i % step) return;
      const label = draw("text", { class: "curve-axis", x: x(i), y: H - B + 18 + (i / step % 2) * 14, "text-anchor": i ? "middle" : "start" });
      label.textContent = name.length > 14 ? `${name.slice(0, 13)}…` : name;
      svg.append(label);
    });
    const labels = [];
    table.experiences.forEach((name, j) => {
      const points = matrix.map((line, i) => [i, line[j]]).filter(([, v]) => v !== null);
      if (!points.length) return;
      const colour = `var(--l${j % 6})`;
      const path = (part) => part.map(([i, v], k) => `${k ? "L" : "M"}${x(i).toFixed(1)} ${y(v).toFixed(1)}`).join("");
      const line = (part, name_) => {
        if (part.length < 2) return;
        const drawn = draw("path", { d: path(part), fill: "none", "stroke-width": 2, class: name_ });
        drawn.style.stroke = colour;
        svg.append(drawn);
      };
      line(points.filter(([i]) => i <= j), "before");
      line(points.filter(([i]) => i >= j), "after");
      for (const [i, v] of points) {
        const marker = SHAPES[j % SHAPES.length](x(i), y(v));
        marker.style.fill = i < j ? "var(--sheet)" : colour;
        marker.style.stroke = colour;
        svg.append(marker);
      }
      labels.push({ name, colour, at: y(points.at(-1)[1]) });
    });
    labels.sort((a, b) => a.at - b.at);
    labels.forEach((label, k) => { label.y = k ? Math.max(label.at, labels[k - 1].y + 15) : label.at; });
    const over = labels.length ? labels.at(-1).y - (H - B + 6) : 0;
    if (over > 0) labels.forEach((label) => { label.y -= over; });
    for (const label of labels) {
      const text = draw("text", { x: W - R + 12, y: label.y + 4, "font-size": narrow ? 11.5 : 12.5 });
      text.style.fill = label.colour;
      text.textContent = label.name.length > (narrow ? 13 : 16) ? `${label.name.slice(0, narrow ? 12 : 15)}…` : label.name;
      svg.append(text);
    }
    return svg;
  }
  function whisker(value, pair, low) {
    const W = 150, x = (v) => 6 + ((v - low) / (1 - low)) * (W - 12);
    const svg = draw("svg", { viewBox: `0 0 ${W} 18`, width: W, height: 18, "aria-hidden": "true" }, draw("line", { class: "base", x1: 6, x2: W - 6, y1: 9, y2: 9 }));
    if (pair && pair[0] !== null) svg.append(draw("line", { class: "whisker", x1: x(Math.max(pair[0], low)), x2: x(pair[1]), y1: 9, y2: 9 }));
    if (value !== null) svg.append(draw("circle", { class: "dot", cx: x(Math.max(value, low)), cy: 9, r: 4 }));
    return svg;
  }

  const card = (title, note, ...content) => make("section", { class: "card" }, make("h3", {}, title), note ? make("p", {}, note) : null, content);
  const full = (section) => { section.classList.add("full"); return section; };
  const facts = (pairs) => make("dl", { class: "facts" }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([key, value]) => [make("dt", {}, key), make("dd", {}, value)]));
  const scrolled = (label, table) => make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, table);
  function plain(caption, columns, lines) {
    const head = make("tr", {}, columns.map(([label, kind]) => make("th", { scope: "col", class: kind }, label)));
    const body = lines.map((line) => make("tr", {}, line.map((cell, k) => make(k ? "td" : "th", k ? { class: columns[k][1] } : { scope: "row" }, cell))));
    return make("table", { class: "plain" }, make("caption", { class: "sr" }, caption), make("thead", {}, head), make("tbody", {}, body));
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

  function matrixCards({ row, table }) {
    const all = row.runs.map((run) => run.matrix), low = floorOf(table, all);
    const map = make("div"), drawing = make("div");
    const several = table.experiences.length > 1 && all[0].filter((line) => line.some((v) => v !== null)).length > 1;
    const choice = chooser(row, "matrix-seed", "Show", true, (value) => {
      const matrix = value === "mean" ? averaged(row) : row.runs[Number(value)].matrix;
      map.replaceChildren(scrolled("R matrix", heatMap(table, matrix, low)));
      if (several) drawing.replaceChildren(curves(table, matrix));
    });
    const metric = METRIC[table.headline];
    return [
      card("R matrix", `${metric} after training on (row), tested on (column).`, choice, map, scale(low)),
      several ? card("What was kept, and what was lost", `${metric} on each experience over the run; dashed and hollow before it was learned.`, drawing)
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
        const spread = runs.map((run) => run.matrix.at(-1)[j]);
        const range = runs.length > 1 ? [Math.min(...spread), Math.max(...spread)] : pair;
        const e = runs[0].per_experience[j];
        const more = two ? ["video_auc", "eer", "accuracy_real", "accuracy_fake", "log_loss"].map((key) => num(figure(key))) : [];
        return [name, num(final), ends(range), whisker(final, range, floor), ...more, e.n_videos && e.n_videos !== e.n ? `${whole(e.n_videos)} / ${whole(e.n)}` : whole(e.n)];
      });
      const what = runs.length > 1 ? "range of seeds" : "95 % interval";
      const more = two ? [["video AUC", "num"], ["EER ↓", "num"], ["acc. real", "num"], ["acc. fake", "num"], ["log loss ↓", "num"]] : [];
      place.replaceChildren(scrolled("The final model on each test set", plain("The final model on each test set", [["experience", ""], [METRIC[table.headline], "num"], [what, "num"], ["", ""], ...more, [two ? "videos / frames" : "samples", "num"]], lines)));
    });
    return full(card("Each source, at the end", "The final model on every test set. Choose a seed for its intervals over videos.", choice, place));
  }
  function seedTable({ row, table }) {
    const lines = row.runs.map((run) => [
      make("a", { href: `results/${encodeURIComponent(run.run)}.json` }, `seed ${run.seed}`), num(run.average), ends(run.interval), num(run.forgetting), ends(run.forgetting_interval),
      `${whole(run.seconds.total)} s`, run.steps ? whole(run.steps) : "–", bytes(run.peak[0]), make("span", { class: `state ${run.status}` }, run.status),
    ]);
    return full(card("Seeds", "Each links to its record; the scores of all of them are one file in scores/. Intervals are over videos.",
      scrolled("Seeds", plain("Runs of this row", [["run", ""], [`average ${METRIC[table.headline]}`, "num"], ["95 % interval", "num"], ["forgetting", "num"], ["95 % interval", "num"], ["time", "num"], ["steps", "num"], ["peak memory", "num"], ["status", ""]], lines))));
  }
  function copyButton(text) {
    const button = make("button", { type: "button", class: "copy" }, "Copy");
    button.addEventListener("click", async () => {
      let done = false;
      try { await navigator.clipboard.writeText(text); done = true; } catch (error) {
        const area = make("textarea", { "aria-hidden": "true" }, text);
        document.body.append(area);
        area.select();
        done = document.execCommand("copy");
        area.remove();
        button.focus();
      }
      button.textContent = done ? "Copied" : "Select and copy";
      say(done ? "Command copied" : "Copying failed; select the text");
    });
    return button;
  }
  const live = make("p", { class: "sr", role: "status" });
  document.body.append(live);
  const say = (text) => { live.textContent = text; };

  function commands({ row, table }) {
    return full(card("Make it again", `Each line trains one seed and ends in the same scores in the same environment. A stream that does not come with dfbench is given as its .yaml file instead of ${table.benchmark}.`,
      row.runs.map((run) => make("div", { class: "command" }, make("pre", {}, make("code", {}, run.command)), copyButton(run.command)))));
  }
  function specification({ row, table }) {
    const pairs = (config, prefix = "") => Object.entries(config).map(([key, value]) => [prefix + key, make("code", {}, JSON.stringify(value))]);
    return card("Specification", "All that decides the result, but for the seed.", facts([
      ["detector", row.detector], ["preset", row.preset], ...pairs(row.detector_config),
      ["strategy", row.strategy], ...pairs(row.strategy_config, "strategy."),
      ["memory budget", `${whole(row.budget)} samples`], ["benchmark", table.benchmark], ["data", make("code", {}, table.fingerprint)], ["row", make("code", {}, row.id)],
    ]));
  }
  function environments({ row }) {
    const groups = new Map();
    for (const run of row.runs) groups.set(run.environment, [...(groups.get(run.environment) || []), run]);
    return card("Environment and cost", null, [...groups].map(([number, runs]) => {
      const e = data.environments[number];
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
        ["seed", String(run.seed)], ["weights", run.weights ? make("code", {}, `sha256:${run.weights}`) : "not recorded"], ["scores", run.scores ? make("code", {}, `sha256:${run.scores}`) : null],
        ["published", run.checkpoint ? `${run.checkpoint.repo}${run.checkpoint.revision ? ` @ ${run.checkpoint.revision}` : ""}` : "no"],
        ["status", run.status], ["verified", v ? [words[v.agreement], v.difference ? `average ${num(v.difference, 4)}` : "", v.by ? `by ${v.by}` : "", v.device ? `on ${v.device}` : "", v.date].filter(Boolean).join(", ") : null],
      ]);
    }))));
  }
  function verdict({ row, table }) {
    const best = table.rows.find((other) => other.mark === "best");
    const one = row.runs.length === 1 ? " With one seed, what training again would change is unknown." : "";
    if (row.bound) return `An upper bound: it saw the data of all experiences at once or kept them all, and is not compared with continual rows.${one}`;
    if (row.mark === "best") return `The best continual row on ${table.key}.${one}`;
    if (!row.against_best || !best) return `Not compared with other rows.${one}`;
    const [d, low, high] = row.against_best;
    const p = row.p < 0.001 ? "p < 0.001" : `p = ${num(row.p)}`;
    const words = row.mark === "tied" ? "not significantly worse than" : "significantly worse than";
    return `${words[0].toUpperCase()}${words.slice(1)} the best row, ${best.strategy} with ${best.detector}: ${METRIC[table.headline]} ${num(d)} [${num(low)}, ${num(high)}], ${p} after Holm's correction.${one}`;
  }
  function figures({ row, table }) {
    const a = row.average;
    const seeds = `${row.runs.length} ${row.runs.length === 1 ? "seed" : "seeds"}`;
    const item = (label, value, ...under) => make("div", {}, make("dt", {}, label), make("dd", {}, value, under.map((text) => make("small", {}, text))));
    return make("dl", { class: "figures" },
      item(`Average ${METRIC[table.headline]}`, a ? num(a.mean) : "–", a && a.low !== null ? `95 %: ${num(a.low)} – ${num(a.high)}` : "no interval", a && a.spread !== null ? `± ${num(a.spread)} over ${seeds}` : seeds),
      item("Forgetting", num(row.forgetting[0]), row.forgetting[1] === null ? "lower is better" : `± ${num(row.forgetting[1])}, lower is better`),
      item("Backward transfer", num(row.bwt[0]), row.bwt[1] === null ? "" : `± ${num(row.bwt[1])}`),
      item("Learning accuracy", num(row.learning_accuracy[0]), row.learning_accuracy[1] === null ? "" : `± ${num(row.learning_accuracy[1])}`),
      item("Stored at the end", row.stored[0] ? whole(row.stored[0]) : "nothing", row.stored[0] ? `samples, ${bytes(row.stored[1])}` : "", row.stored[2] ? `other state ${bytes(row.stored[2])}` : ""),
      item("Time", row.seconds < 600 ? `${whole(row.seconds)} s` : `${whole(row.seconds / 60)} min`, row.devices.join(", "), row.steps ? `${whole(row.steps)} steps` : ""),
      row.passes ? item("Compute", row.relative_compute ? `${num(row.relative_compute)} ×` : whole(row.passes), row.relative_compute ? "plain training" : "", `${whole(row.passes)} passes`) : "",
      row.intransigence ? item("Intransigence", num(row.intransigence[0]), "lower is better", row.intransigence[1] ? "" : "against a joint run, which saw later experiences too") : "");
  }
  function open(found) {
    const { row, table } = found;
    const title = make("h2", { tabindex: "-1" }, `${row.strategy} `, make("span", {}, `with ${row.detector}`));
    const sub = make("p", { class: "sub" }, [table.key, `preset ${row.preset}`, `${row.runs.length} ${row.runs.length === 1 ? "seed" : "seeds"}`, ...row.options].map((text) => make("span", {}, `${text} `)), make("span", { class: `state ${row.status}` }, ` ${row.status}`));
    detail.replaceChildren(
      make("a", { class: "back", href: `#tab=${encodeURIComponent(table.key)}` }, `← All rows of ${table.key}`), title, sub, figures(found),
      make("p", { class: "verdict" }, verdict(found)),
      row.notes.length ? make("div", { class: "notes", role: "note" }, make("b", {}, "About these data"), row.notes.map((note) => make("p", {}, note))) : "",
      make("div", { class: "grid" }, matrixCards(found), sources(found), seedTable(found), commands(found), specification(found), environments(found), checkpoints(found)));
    document.title = `${row.strategy} with ${row.detector} · dfbench leaderboard`;
    return title;
  }

  // --- The address says what is shown ------------------------------------------------------------------

  let left = null, scrolledTo = 0;
  function show(first) {
    const [, name, value] = location.hash.match(/^#(row|tab)=(.*)$/) || [];
    let wanted = "";
    try { wanted = decodeURIComponent(value || ""); } catch (error) { wanted = ""; }
    const found = name === "row" ? rows.get(wanted) : undefined;
    if (found) {
      if (!board.hidden) scrolledTo = window.scrollY;
      left = wanted;
      select(found.table.key);
      const title = open(found);
      board.hidden = true;
      detail.hidden = false;
      document.body.classList.add("reading");
      window.scrollTo({ top: 0, behavior: "instant" });
      title.focus({ preventScroll: true });
      detail.scrollIntoView({ block: "start", behavior: "instant" });
      return;
    }
    const back = board.hidden;
    board.hidden = false;
    detail.hidden = true;
    document.body.classList.remove("reading");
    detail.replaceChildren();
    document.title = "dfbench leaderboard";
    if (name === "tab" || first || back) select(wanted || (tabs[0] && tabs[0].dataset.key));
    if (back && left) {
      window.scrollTo({ top: scrolledTo, behavior: "instant" });
      const link = board.querySelector(`[data-id="${CSS.escape(left)}"] a`);
      if (link && link.offsetParent) link.focus({ preventScroll: true });
    }
  }
  window.addEventListener("hashchange", () => show(false));
  show(true);
})();
