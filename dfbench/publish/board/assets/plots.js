  // --- Charts: average against cost, and what becomes of each experience -----------------------------

  const SHAPES = [
    (x, y) => draw("circle", { cx: x, cy: y, r: 4.2 }),
    (x, y) => draw("rect", { x: x - 3.8, y: y - 3.8, width: 7.6, height: 7.6 }),
    (x, y) => draw("path", { d: `M${x} ${y - 5}l4.8 8.4h-9.6z` }),
    (x, y) => draw("path", { d: `M${x} ${y - 5.2}l5.2 5.2l-5.2 5.2l-5.2 -5.2z` }),
    (x, y) => draw("path", { d: `M${x} ${y + 5}l4.8 -8.4h-9.6z` }),
  ];
  const hue = (k) => `var(--l${k % 6})`;
  const marker = (k, x, y) => { const drawn = SHAPES[k % SHAPES.length](x.toFixed ? Number(x.toFixed(1)) : x, Number(y.toFixed(1))); drawn.style.fill = hue(k); return drawn; };
  /** Ends of an axis that fit the values, and its ticks, in steps of .1 or less. */
  function fitted(values) {
    let low = Math.min(...values), high = Math.max(...values);
    const step = high - low > 0.45 ? 0.1 : high - low > 0.18 ? 0.05 : 0.02;
    low = Math.max(0, Math.floor(low / step + 1e-9) * step);
    high = Math.min(1, Math.ceil(high / step - 1e-9) * step);
    if (high - low < step) high = low + step;
    const ticks = Array.from({ length: Math.round((high - low) / step) + 1 }, (_, k) => low + k * step);
    return { low, high, ticks, digits: step < 0.1 ? 2 : 1 };
  }
  /** Grid lines and figures along y, and a note where the axis does not begin at 0. */
  function yAxis(svg, axis, y, left, right, chance) {
    for (const value of axis.ticks) {
      svg.append(draw("path", { class: "grid-line", d: `M${left} ${y(value).toFixed(1)}H${right}` }));
      svg.append(write({ class: "axis-text", x: left - 7, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(axis.digits)));
    }
    if (chance && axis.low < 0.5 && axis.high > 0.5) svg.append(draw("path", { class: "chance", d: `M${left} ${y(0.5).toFixed(1)}H${right}` }));
  }
  const begins = (axis) => (axis.low > 0 ? `The axis begins at ${axis.low.toFixed(axis.digits)}.` : "");

  // What a row cost, along x. A logarithmic axis has no place for 0: it gets one of its own at the left.
  const COSTS = {
    compute: { label: "Compute, relative to plain training of the same detector", value: (row) => row.relative_compute, text: times },
    passes: { label: "Compute in passes (one pass = one picture forward and backward)", value: (row) => row.passes, text: whole },
    memory: { label: "Memory at the end: stored samples and other state", value: (row) => row.stored[1] + row.stored[2], text: bytes },
  };
  const STEPS = { compute: [1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 100], memory: [1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11] };
  STEPS.passes = [1, 2, 5].flatMap((n) => [1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10].map((power) => n * power)).sort((a, b) => a - b);

  /** Points of more rows than this have their names in their titles alone. */
  const NAMED = 300;
  function scatter(table, shown, kind) {
    const cost = COSTS[kind], width = Math.max(300, Math.min(1230, board.clientWidth || 1200)), narrow = width < 620;
    const H = narrow ? 380 : 460, L = 46, R = narrow ? 14 : 150, T = 16, B = 48;
    const able = shown.filter((row) => row.average && !row.bound && known(cost.value(row)));
    const left = shown.filter((row) => row.average && !row.bound && !known(cost.value(row)));
    const bounds = shown.filter((row) => row.average && row.bound);
    const out = [];
    if (!able.length) return [make("p", { class: "none" }, `No row that is seen has this figure (${cost.label.toLowerCase()}).`)];
    const values = [...able.flatMap((row) => [row.average.mean, row.average.low ?? row.average.mean, row.average.high ?? row.average.mean]), ...bounds.map((row) => row.average.mean)];
    const axis = fitted(values);
    const positive = able.map(cost.value).filter((v) => v > 0), zero = able.some((row) => cost.value(row) <= 0);
    const low = Math.log(Math.min(...positive, positive.length ? Infinity : 1)), high = Math.log(Math.max(...positive, positive.length ? 0 : 1));
    const start = L + (zero ? 46 : 12), room = width - R - start - 14, span = Math.max(high - low, 0.2);
    const x = (value) => (value > 0 ? start + ((Math.log(value) - low) / span) * room : L + 18);
    const y = (value) => T + ((axis.high - value) * (H - T - B)) / (axis.high - axis.low);
    const svg = draw("svg", { viewBox: `0 0 ${width} ${H}`, width, height: H, role: "group", "aria-label": `${METRIC[table.headline]} against cost: ${able.length} rows; the same figures are in the table` });
    yAxis(svg, axis, y, L, width - R, table.headline.endsWith("auc"));
    let free = -Infinity;
    for (const step of STEPS[kind].filter((v) => Math.log(v) >= low - 1e-9 && Math.log(v) <= high + 1e-9)) {
      if (x(step) - free < 58) continue;
      free = x(step);
      svg.append(draw("path", { class: "grid-line", d: `M${x(step).toFixed(1)} ${T}V${H - B}` }), write({ class: "axis-text", x: x(step), y: H - B + 17, "text-anchor": "middle" }, cost.text(step).replace(".0 ", " ")));
    }
    if (zero) svg.append(write({ class: "axis-text", x: L + 18, y: H - B + 17, "text-anchor": "middle" }, "none"));
    svg.append(write({ class: "axis-title", x: (L + width - R) / 2, y: H - 8, "text-anchor": "middle" }, narrow ? cost.label.split(/[,:(]/)[0] : `${cost.label} (logarithmic)`));
    const lines = [];
    for (const row of [...bounds].sort((a, b) => b.average.mean - a.average.mean)) {
      const at = y(row.average.mean), text = Math.max(at, (lines.at(-1) ?? -Infinity) + 14);
      lines.push(text);
      const link = draw("a", { href: `#row=${row.id}`, class: "bound-line", "aria-label": `${row.baseline ? "as it is" : "bound"}: ${titled(row)}, ${num(row.average.mean)}` });
      link.append(draw("path", { d: `M${L} ${at.toFixed(1)}H${width - R}` }), narrow ? write({ class: "bound-text", x: width - R, y: at - 4, "text-anchor": "end" }, `${row.strategy}, ${row.detector}`) : write({ class: "bound-text", x: width - R + 6, y: text + 4 }, `${row.strategy}, ${row.detector}`));
      svg.append(link);
    }
    const detectors = [...new Set(table.rows.map((row) => `${row.detector} ${row.preset}`))];
    const taken = [];
    const points = able.map((row) => ({ row, px: x(cost.value(row)), py: y(row.average.mean), k: detectors.indexOf(`${row.detector} ${row.preset}`) }));
    for (const point of points) taken.push([point.px - 6, point.py - 6, point.px + 6, point.py + 6]);
    for (const { row, px, py, k } of points) {
      const link = draw("a", { href: `#row=${row.id}`, class: `point ${row.mark || ""}`, "aria-label": `${titled(row)}: ${num(row.average.mean)}, ${cost.text(cost.value(row))}` });
      link.append(draw("title", {}, document.createTextNode(`${titled(row)}: ${num(row.average.mean)} (${row.average.low === null ? "no interval" : ends([row.average.low, row.average.high])}), ${cost.text(cost.value(row))}`)));
      if (row.average.low !== null) {
        const bar = draw("path", { class: "bar", d: `M${px.toFixed(1)} ${y(row.average.low).toFixed(1)}V${y(row.average.high).toFixed(1)}` });
        bar.style.stroke = hue(k);
        link.append(bar);
      }
      link.append(draw("circle", { class: "halo", cx: px.toFixed(1), cy: py.toFixed(1), r: 9 }), marker(k, px, py));
      svg.append(link);
    }
    for (const { row, px, py } of points.length > NAMED ? [] : points) {
      const text = row.strategy.length > 18 ? `${row.strategy.slice(0, 17)}…` : row.strategy, long = text.length * 6.6;
      const places = [[px + 8, py + 4], [px - 8 - long, py + 4], [px + 7, py - 6], [px + 7, py + 14], [px - 7 - long, py - 6], [px - 7 - long, py + 14]];
      const free = places.find(([a, b]) => a > L && a + long < width - (narrow ? 2 : R) && b > T && b < H - B && taken.every(([x0, y0, x1, y1]) => a + long < x0 || a > x1 || b < y0 || b - 10 > y1));
      if (!free) continue;
      taken.push([free[0], free[1] - 10, free[0] + long, free[1]]);
      svg.append(write({ class: "point-text", x: free[0].toFixed(1), y: free[1].toFixed(1), "aria-hidden": "true" }, text));
    }
    out.push(make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Chart" }, svg));
    out.push(make("p", { class: "key" }, detectors.filter((name) => points.some((p) => detectors[p.k] === name)).map((name) => {
      const box = draw("svg", { viewBox: "0 0 14 14", width: 14, height: 14, "aria-hidden": "true" });
      box.append(marker(detectors.indexOf(name), 7, 7));
      return make("span", {}, box, name.replace(/ default$/, ""));
    }), make("span", {}, `Bars: 95 % intervals. Dashed lines: bounds, which saw all data${bounds.some((row) => row.baseline) ? ", and weights as they are, never trained here" : ""}. ${begins(axis)}`)));
    if (left.length) out.push(make("p", { class: "about" }, `Not in the chart, because this figure was not counted: ${left.map(titled).join("; ")}.`));
    return out;
  }

  /** One panel of curves: values over the stream with a band of ± one standard deviation over seeds. */
  function panelOf(svg, series, axis, box, names, start, chance) {
    const { left, top, width, height } = box, size = names.length;
    const x = (i) => left + (size > 1 ? (i * width) / (size - 1) : width / 2);
    const y = (value) => top + ((axis.high - value) * height) / (axis.high - axis.low);
    yAxis(svg, axis, y, left, left + width, chance);
    for (const { values, spreads, k } of series) {
      const points = values.map((v, i) => [i, v, spreads[i]]).filter(([, v]) => known(v));
      if (points.length === 1 && size > 1) {
        const line = draw("path", { class: "level", d: `M${left} ${y(points[0][1]).toFixed(1)}H${left + width}` });
        line.style.stroke = hue(k);
        svg.append(line);
        continue;
      }
      const after = points.filter(([i]) => i >= start), path = (part) => part.map(([i, v], n) => `${n ? "L" : "M"}${x(i).toFixed(1)} ${y(v).toFixed(1)}`).join("");
      const band = after.filter(([, , s]) => known(s));
      if (band.length > 1) {
        const edge = (sign) => band.map(([i, v, s]) => `${x(i).toFixed(1)} ${y(Math.min(Math.max(v + sign * s, axis.low), axis.high)).toFixed(1)}`);
        const area = draw("path", { class: "band", d: `M${edge(1).join("L")}L${edge(-1).reverse().join("L")}Z` });
        area.style.fill = hue(k);
        svg.append(area);
      }
      for (const [part, name] of [[points.filter(([i]) => i <= start), "before"], [after, "after"]]) {
        if (part.length < 2) continue;
        const line = draw("path", { class: name, d: path(part) });
        line.style.stroke = hue(k);
        svg.append(line);
      }
      for (const [i, v] of points) {
        const mark = marker(k, x(i), y(v));
        if (i < start) { mark.style.fill = "var(--sheet)"; mark.style.stroke = hue(k); }
        svg.append(mark);
      }
    }
  }
  const column = (row, j) => {
    const all = row.runs.map((run) => run.matrix);
    return { values: all[0].map((_, i) => mean(all.map((m) => m[i][j]))), spreads: all[0].map((_, i) => spread(all.map((m) => m[i][j]))) };
  };
  function seenSoFar(row) {
    const all = row.runs.map((run) => run.matrix.map((line, i) => mean(line.slice(0, i + 1))));
    return { values: all[0].map((_, i) => mean(all.map((line) => line[i]))), spreads: all[0].map((_, i) => spread(all.map((line) => line[i]))) };
  }
  /** Curves of two to five rows: a panel for what was seen so far, and one per experience. */
  function comparison(table, chosen) {
    if (chosen.length < 2) return [make("p", { class: "none" }, `Tick two to ${MOST} rows of the table to compare their curves here${chosen.length ? "; one is ticked" : ""}.`)];
    const wide = Math.max(300, Math.min(1230, board.clientWidth || 1200)), across = wide < 620 ? 1 : wide < 1000 ? 2 : 3, names = table.experiences;
    const panels = [["mean of the experiences seen so far", 0, chosen.map((row, k) => ({ ...seenSoFar(row), k }))], ...names.map((name, j) => [name, j, chosen.map((row, k) => ({ ...column(row, j), k }))])];
    const all = panels.flatMap(([, , series]) => series.flatMap(({ values, spreads }) => values.flatMap((v, i) => (known(v) ? [v, v - (spreads[i] || 0), v + (spreads[i] || 0)] : []))));
    const axis = fitted(all.map((v) => Math.min(Math.max(v, 0), 1))), each = wide / across;
    const list = make("ol", { class: "small-panels" }, panels.map(([name, start, series]) => {
      const width = Math.floor(each - 12), H = 210, svg = draw("svg", { viewBox: `0 0 ${width} ${H}`, width, height: H, role: "img", "aria-label": `${METRIC[table.headline]}, ${name}: ${chosen.map((row, k) => `${titled(row)} ends at ${num(series[k].values.at(-1))}`).join("; ")}` });
      const box = { left: 40, top: 10, width: width - 56, height: H - 44 };
      panelOf(svg, series, axis, box, names, start, table.headline.endsWith("auc"));
      names.forEach((_, i) => {
        if (i % Math.ceil(names.length / 10)) return;
        const at = box.left + (names.length > 1 ? (i * box.width) / (names.length - 1) : box.width / 2);
        svg.append(write({ class: "axis-text", x: at, y: H - 14, "text-anchor": "middle" }, String(i + 1)));
      });
      return make("li", {}, make("h3", {}, name), svg);
    }));
    list.style.gridTemplateColumns = `repeat(${across}, minmax(0, 1fr))`;
    const legend = make("ul", { class: "key" }, chosen.map((row, k) => {
      const box = draw("svg", { viewBox: "0 0 14 14", width: 14, height: 14, "aria-hidden": "true" });
      box.append(marker(k, 7, 7));
      return make("li", {}, box, make("a", { href: `#row=${row.id}` }, titled(row)), ` n = ${seedCount(row)}`);
    }));
    const order = `After training on: ${names.map((name, i) => `${i + 1} ${name}`).join(", ")}.`;
    return [legend, list, make("p", { class: "about" }, `${METRIC[table.headline]}. ${order} Bands: ± one standard deviation over seeds; dotted and hollow: not yet trained on; a level line: trained once, on everything. ${begins(axis)}`)];
  }
