  // --- A row of the table: what its columns are sorted by, and its cells ------------------------------------

  const size = (value) => {
    for (const [unit, factor] of [["TB", 1e12], ["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) if (value >= factor) return `${(value / factor).toFixed(1)} ${unit}`;
    return value === 1 ? "1 byte" : `${value} bytes`;
  };
  const took = (value) => (value === null ? "–" : value < 600 ? `${value} s` : value < 7200 ? `${Math.round(value / 60)} min` : `${(value / 3600).toFixed(1)} h`);
  const first = (name) => (row) => row[name] && row[name][0];
  /** Column → what it is sorted by; null sorts last. */
  const VALUES = {
    rank: (row) => row.rank, strategy: (row) => row.strategy, detector: (row) => `${row.detector} ${row.preset}`,
    average: (row) => row.average && row.average.mean, interval: (row) => row.average && row.average.low, limits: (row) => row.average && row.average.low,
    memory: (row) => row.stored[1] + row.stored[2], compute: (row) => row.relative_compute, passes: (row) => row.passes, steps: (row) => row.steps, seconds: (row) => row.seconds,
    generalisation: first("generalisation"), robustness: first("robustness"), seeds: (row) => row.seeds.split(" ").length,
    checks: (row) => row.outcomes.reduce((sum, each) => sum + { passed: 1, failed: -1, "not checked": 0 }[each], 0),
    ...Object.fromEntries(SCALARS.map((name) => [name, first(name)])),
  };
  const strategyOptions = (row) => row.options.filter((option) => option.startsWith("strategy.")).map((option) => option.slice(9));
  const detectorOptions = (row) => row.options.filter((option) => !option.startsWith("strategy."));
  const failed = (row) => row.outcomes.flatMap((each, k) => (each === "failed" ? [row.table.checks[k][0]] : []));
  const MARK_WORDS = { best: "best continual row of its group", tied: "not significantly worse than the best", worse: "significantly worse than the best" };
  /** What Find looks through. */
  const wordsOf = (row) => [row.strategy, ...strategyOptions(row), row.detector, row.preset, ...detectorOptions(row), row.mark ? MARK_WORDS[row.mark] : "", row.bound ? (row.baseline ? "as it is" : "bound") : "", row.status,
    row.leaks ? "leaks allowed" : "", row.seen ? "trained on this stream before" : row.notes ? "data note" : "", ...failed(row)].join(" ").toLowerCase();

  function intervalPlot(row, bound) {
    const [low, high] = row.table.axis, { mean: middle, low: from, high: to } = row.average;
    const at = (value) => (6 + Math.min(Math.max((value - low) / (high - low), 0), 1) * 112).toFixed(1);
    const svg = draw("svg", { class: "interval", viewBox: "0 0 124 18", width: 124, height: 18, "aria-hidden": "true", focusable: "false" }, draw("path", { class: "base", d: "M6 9H118" }));
    if (known(bound)) svg.append(draw("path", { class: "ref", d: `M${at(bound)} 0V18` }));
    if (to >= low) svg.append(draw("path", { class: "whisker", d: `M${at(from)} 9H${at(to)}` }));
    svg.append(middle >= low ? draw("circle", { class: "dot", cx: at(middle), cy: 9, r: 3.6 }) : draw("path", { class: "dot", d: "M10 5L4 9L10 13Z" }));
    return [svg, make("span", { class: "ends" }, ends([from, to]))];
  }
  const soft = (text) => [" ", make("span", { class: "soft" }, text)];
  const withSpread = ([value, sd]) => [num(value), known(sd) ? soft(`± ${num(sd)}`) : ""];
  /** Column → content of a cell, its title, and its class next to that of its kind. */
  const CELLS = {
    rank: (row) => ({ content: row.bound ? make("span", { class: "tag", title: `${row.bound_words}: not ranked` }, row.baseline ? "as it is" : "bound") : [String(row.rank),
      { best: "★", tied: "≈" }[row.mark] ? [" ", make("span", { class: "mark", "aria-hidden": "true", title: MARK_WORDS[row.mark] }, { best: "★", tied: "≈" }[row.mark]), make("span", { class: "sr" }, MARK_WORDS[row.mark])] : ""] }),
    detector: (row) => ({ content: [row.detector, row.preset === "default" ? "" : soft(row.preset), detectorOptions(row).map((text) => [" ", make("span", { class: "option" }, text)])], title: [row.detector, row.preset, ...detectorOptions(row)].join(" ") }),
    average: (row) => ({ content: row.average ? [make("b", {}, num(row.average.mean)), known(row.average.spread) ? soft(`± ${num(row.average.spread)}`) : ""] : make("b", {}, "–") }),
    interval: (row, bound) => ({ content: row.average && known(row.average.low) ? intervalPlot(row, bound) : make("span", { class: "soft" }, "–") }),
    limits: (row) => ({ content: row.average ? ends([row.average.low, row.average.high]) : "–" }),
    generalisation: (row, bound, most) => ({ content: [withSpread(row.generalisation || [null, null]), row.generalisation && row.unseen.length && row.unseen.length < most ? soft(`${row.unseen.length} of ${most} sets`) : ""], title: row.unseen_words || "not tested on sets that it was never trained on" }),
    robustness: (row) => ({ content: withSpread(row.robustness || [null, null]), title: row.robustness_words }),
    memory: (row) => { const [samples, held, state] = row.stored; return { content: [samples || !state ? (samples ? whole(samples) : "–") : "", held + state ? soft(size(held + state)) : ""],
      title: [samples ? `${size(held)} of samples` : "", state ? `${size(state)} of other state` : ""].filter(Boolean).join(", ") || "nothing is kept" }; },
    compute: (row) => ({ content: known(row.relative_compute) ? times(row.relative_compute) : "–", title: known(row.relative_compute) || !known(row.passes) ? null : `${whole(row.passes)} passes; those of plain training were not counted` }),
    seeds: (row) => ({ content: [`${VALUES.seeds(row)} `, make("span", { class: `state ${row.status}`, title: row.status }, make("span", {}, row.status))] }),
    checks: (row) => { const wrong = failed(row); return { content: [`${row.outcomes.filter((each) => each === "passed").length}/${row.outcomes.length}`, wrong.length ? [" ", make("span", { class: "failed", "aria-hidden": "true" }, "✗"), make("span", { class: "sr" }, `failed: ${wrong.join(", ")}`)] : ""],
      title: row.outcomes.map((each, k) => `${row.table.checks[k][0]}: ${each}`).join("; ") }; },
    passes: (row) => ({ content: whole(row.passes) }), steps: (row) => ({ content: row.steps ? whole(row.steps) : "–" }), seconds: (row) => ({ content: took(row.seconds), title: row.machines }),
    ...Object.fromEntries(SCALARS.map((name) => [name, (row) => ({ content: withSpread(row[name]) })])),
  };
  const CLASSES = { rank: "rank", detector: "who", average: "num main", interval: "plot", checks: "num checks" };
  function strategyCell(row) {
    const options = strategyOptions(row), warn = (title, text) => [" ", make("span", { class: "tag warn", title }, text)];
    return make("th", { scope: "row", role: "rowheader", "data-c": "strategy", "data-v": row.strategy, title: [row.strategy, ...options].join(" ") }, make("a", { href: `#row=${row.id}` }, row.strategy),
      options.length > 2 ? [" ", make("span", { class: "option" }, `${options.length} options`)] : options.map((text) => [" ", make("span", { class: "option" }, text)]),
      row.leaks ? warn(row.leaks, "leaks allowed") : "", row.seen ? warn(row.notes, "trained on this stream before") : row.notes ? warn(row.notes, "data note") : "");
  }
  /** ``columns``: [key, label, hidden] in their order; ``bound``: the highest bound of its detector; ``most``: unseen sets of the table. */
  function lineOf(row, columns, bound, most, tick) {
    const name = [row.strategy, ...strategyOptions(row), "with", row.detector, row.preset, ...detectorOptions(row)].join(" ");
    const box = make("input", { type: "checkbox", "data-tick": true, "aria-label": `Compare curves of ${name}` });
    box.addEventListener("change", () => tick(row.id, box.checked));
    return make("tr", { role: "row", class: row.bound ? "bound" : row.mark || "none", "data-id": row.id, "data-detector": row.detector, "data-strategy": row.strategy, "data-preset": row.preset, "data-budget": row.budget, "data-status": row.status },
      make("td", { role: "cell", class: "tick" }, box),
      columns.map(([key, label, hidden]) => {
        if (key === "strategy") return strategyCell(row);
        const { content, title } = CELLS[key](row, bound, most), value = VALUES[key](row), kind = CLASSES[key] || "num";
        return make("td", { role: "cell", class: kind, "data-c": key, "data-label": kind === "num" || key === "checks" ? label : null, "data-v": String(value ?? ""), title, hidden }, content);
      }));
  }
