  // --- A row's page: sets that were never trained on, and degraded copies ---------------------------

  const meanOf = (tables) => tables[0].map((line, i) => line.map((_, j) => mean(tables.map((each) => each[i][j]))));
  /** A heat map with a choice of seed; ``values`` of a run: lines of numbers. */
  function chosenHeat(row, table, name, title, text, values, draw_) {
    const all = row.runs.map(values), place = make("div");
    const middle = middleOf(table, all);
    const choice = chooser(row, name, "Show", true, (value) => {
      place.replaceChildren(scrolled(title, draw_(value === "mean" ? meanOf(all) : all[Number(value)], middle)));
    });
    return card(title, text, choice, place, scale(middle, all, []));
  }
  function furtherCards({ row, table }) {
    const metric = METRIC[table.headline], cards = [];
    if (row.generalisation) cards.push(chosenHeat(row, table, "unseen-seed", "Generalisation", `${metric} on sets that were never trained on (column), after training on (row).`, (run) => run.unseen,
      (lines, middle) => heatTable("Generalisation: row, after training on; column, unseen set", CORNER, row.unseen, lines.map((line, i) => [i ? table.experiences[i - 1] : "(untrained)", line]), middle)));
    if (row.robustness) {
      const { degraded, levels } = row.runs[0], kinds = Object.keys(degraded);
      cards.push(chosenHeat(row, table, "degraded-seed", "Robustness", `${metric} of the final model on degraded copies of the test sets, mean over the experiences; 1 is the weakest level.`, (run) => kinds.map((kind) => run.degraded[kind]),
        (lines, middle) => heatTable("Robustness: row, kind of degradation; column, its level", "kind ↓ level →", ["none", ...levels], lines.map((line, i) => [kinds[i], line]), middle)));
    }
    return cards;
  }
