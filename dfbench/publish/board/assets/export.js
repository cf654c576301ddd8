  // --- What is seen, as files ----------------------------------------------------------------------

  const pair = (name) => [[name, (row) => row[name][0]], [`${name}_spread`, (row) => row[name][1]]];
  const against = (name, other) => ["", "_spread", `_${other}`].map((end, k) => [name + end, (row) => row[name] && row[name][k]]);
  const FIELDS = {
    average: [["average", (row) => row.average && row.average.mean], ["average_spread", (row) => row.average && row.average.spread]],
    interval: [["interval_low", (row) => row.average && row.average.low], ["interval_high", (row) => row.average && row.average.high]],
    forgetting: pair("forgetting"), af: pair("af"), bwt: pair("bwt"), learning_accuracy: pair("learning_accuracy"), next: pair("next"), average_incremental: pair("average_incremental"), whole: pair("whole"), average_tpr_at_1_fpr: pair("average_tpr_at_1_fpr"), fpr_drift: pair("fpr_drift"), carried_tpr: pair("carried_tpr"),
    generalisation: against("generalisation", "untrained"), robustness: against("robustness", "undegraded"),
    memory: [["stored_samples", (row) => row.stored[0]], ["stored_bytes", (row) => row.stored[1]], ["state_bytes", (row) => row.stored[2]]],
    compute: [["relative_compute", (row) => row.relative_compute]], passes: [["passes", (row) => row.passes]],
    steps: [["steps", (row) => row.steps]], seconds: [["seconds", (row) => row.seconds]],
    checks: [["checks_passed", (row) => row.outcomes.filter((each) => each === "passed").length], ["checks_failed", (row) => failed(row).join(" ")]],
    seeds: [["seeds", (row) => row.seeds], ["status", (row) => row.status]],
  };
  FIELDS.limits = FIELDS.interval;

  /** The rows that are found, whether drawn or not, in their order, with the columns that are seen. */
  function seenRows(found, columns) {
    const fields = columns.filter((key) => FIELDS[key]).flatMap((key) => FIELDS[key]);
    return found.map((row) => {
      const start = { benchmark: row.table.key, rank: row.rank, bound: row.bound, mark: row.mark, strategy: row.strategy, detector: row.detector, preset: row.preset, options: row.options.join(" "), row: row.id };
      return { ...start, ...Object.fromEntries(fields.map(([name, value]) => [name, value(row) ?? null])) };
    });
  }
  /** A cell of CSV; a text that a spreadsheet would take for a formula begins with an apostrophe. */
  function csvCell(value) {
    if (value === null) return "";
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }
  function asCsv(found) {
    const head = Object.keys(found[0] || { benchmark: "" });
    return [head, ...found.map((each) => head.map((key) => each[key]))].map((line) => line.map(csvCell).join(",")).join("\r\n") + "\r\n";
  }
  function save(name, kind, found) {
    const [text, type] = kind === "csv" ? [asCsv(found), "text/csv"] : [`${JSON.stringify(found, null, 1)}\n`, "application/json"];
    const url = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
    const link = make("a", { href: url, download: `dfbench-${name.replace(/[^\w.-]+/g, "_")}.${kind}` });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
    say(`${found.length} rows saved as ${link.download}`);
  }
