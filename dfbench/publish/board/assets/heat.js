  // --- Accuracy matrices ----------------------------------------------------------------------------

  /** The colours of dfbench/publish/heat.py, the same in reports: position 0 to 1 → background and text. */
  function shade(share) {
    const at = Math.min(Math.max(share, 0), 1), after = Math.max(1, data.ramp.findIndex(([stop]) => at <= stop));
    const [[a, low], [b, high]] = [data.ramp[after - 1], data.ramp[after]];
    const rgb = low.map((value, k) => Math.round(value + ((high[k] - value) * (at - a)) / (b - a)));
    const [r, g, blue] = rgb.map((v) => ((v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    const light = 0.2126 * r + 0.7152 * g + 0.0722 * blue;
    return { fill: `rgb(${rgb.join(",")})`, ink: 1.05 / (light + 0.05) > (light + 0.05) / 0.05 ? "#fff" : "#000" };
  }
  /** The value of the pale colour: chance of an AUC, else the least value. */
  function middleOf(table, matrices) {
    if (table.headline.endsWith("auc")) return 0.5;
    const least = Math.min(...matrices.flat(2).filter(known), 1);
    return least < 1 ? least : 0;
  }
  const placeOf = (value, middle) => 0.5 + (0.5 * (value - middle)) / (1 - middle);
  function averaged(row) {
    const all = row.runs.map((run) => run.matrix);
    return all[0].map((line, i) => line.map((_, j) => mean(all.map((m) => m[i][j]))));
  }
  /** Lines [label, values] with a colour each; lines without a value are left out. */
  function heatTable(caption, corner, columns, lines, middle, kind = () => "") {
    const head = make("tr", {}, make("th", { scope: "col" }, corner), columns.map((name) => make("th", { scope: "col" }, name)));
    const body = lines.map(([label, line], i) =>
      line.every((value) => value === null) ? null :
      make("tr", {}, make("th", { scope: "row" }, label), line.map((value, j) => {
        if (value === null) return make("td", { class: "empty" }, make("span", { class: "sr" }, "not measured"));
        const cell = make("td", { class: kind(i, j) }, num(value));
        const colour = shade(placeOf(value, middle));
        cell.style.backgroundColor = colour.fill;
        cell.style.color = colour.ink;
        return cell;
      })));
    return make("table", { class: "heat" }, make("caption", { class: "sr" }, caption), make("thead", {}, head), make("tbody", {}, body));
  }
  const CORNER = "after training on ↓ tested on →";
  const heatMap = (table, matrix, middle) => heatTable("R matrix: row, after training on; column, tested on", CORNER, table.experiences,
    matrix.map((line, i) => [table.experiences[i], line]), middle, (i, j) => (i === j ? "diagonal" : j > i ? "ahead" : ""));
  function scale(middle, matrices, marks = data.cells) {
    const least = Math.min(...matrices.flat(2).filter(known), middle), low = Math.floor(least * 10 + 1e-9) / 10;
    const steps = Array.from({ length: 11 }, (_, k) => low + ((1 - low) * k) / 10).map((value) => {
      const box = make("i");
      box.style.backgroundColor = shade(placeOf(value, middle)).fill;
      return box;
    });
    const chance = middle === 0.5 && low < 0.5 ? ["pale: chance (.5); brown: below it"] : middle === 0.5 ? ["pale: chance (.5)"] : [];
    return make("p", { class: "scale", "aria-hidden": "true" }, num(low, 1), make("span", {}, steps), "1.0", make("span", { class: "key" }, ` ${[...chance, ...marks].join(" · ")}`));
  }
