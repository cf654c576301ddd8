  // --- Parts of the board, loaded when they are needed: the rows of a table, and a row with its runs ------

  const DIGITS = 10;
  const waiting = new Map(), arrived = new Map(), asked = new Map();
  /** Each part is a script with one call: scripts are loaded from disk, too. */
  window.dfbenchPart = (name, text) => { arrived.set(name, JSON.parse(text)); };
  function part(name) {
    if (!asked.has(name)) asked.set(name, new Promise((resolve, reject) => {
      const script = make("script", { src: `data/${name}.js` });
      script.onload = () => { script.remove(); resolve(arrived.get(name)); };
      script.onerror = () => { script.remove(); asked.delete(name); reject(new Error(`data/${name}.js could not be loaded: the folder data belongs next to this page`)); };
      document.head.append(script);
    }));
    return asked.get(name);
  }

  const tables = new Map(data.tables.map((table) => [table.key, table]));
  /** Row → its table. */
  const places = new Map();
  for (const table of data.tables) for (let at = 0; at < table.ids.length; at += DIGITS) places.set(table.ids.slice(at, at + DIGITS), table);

  /** The rows of a table as the list shows them, the best average first. */
  async function rowsOf(table) {
    table.rows ||= unpacked(table, await part(`${table.folder}/rows`));
    return table.rows;
  }
  /** A row with its runs. */
  async function wholeRow(id) {
    const table = places.get(id), found = await part(`${table.folder}/${id.slice(0, 2)}`);
    return { table, row: { ...found.rows[id], environments: found.environments } };
  }

  function unpacked(table, { words, columns }) {
    const count = table.ids.length / DIGITS;
    const get = (name, at) => (columns[name] ? columns[name][at] : null), word = (name, at) => { const k = get(name, at); return k === null ? null : words[k]; };
    const share = (name, at) => { const n = get(name, at); return n === null ? null : n / 10000; };
    const pair = (name, at) => [share(name, at), share(`${name}_1`, at)], change = (name, at) => (get(name, at) === null && get(`${name}_2`, at) === null ? null : [...pair(name, at), share(`${name}_2`, at)]);
    const list = (name, at) => JSON.parse(word(name, at) || "[]");
    let rank = 0;
    return Array.from({ length: count }, (_, at) => {
      const row = { id: table.ids.slice(at * DIGITS, (at + 1) * DIGITS), at, table };
      for (const name of ["strategy", "detector", "preset", "mark", "status", "leaks", "notes", "machines", "seeds", "unseen_words", "robustness_words"]) row[name] = word(name, at);
      for (const name of ["budget", "passes", "steps", "seconds"]) row[name] = get(name, at);
      for (const name of SCALARS) row[name] = pair(name, at);
      row.options = list("options", at);
      row.bound_words = word("bound", at);
      row.bound = row.bound_words !== null;
      row.baseline = get("baseline", at) === 1;
      row.seen = get("seen", at) === 1;
      row.average = get("average", at) === null ? null : { mean: share("average", at), spread: share("average_1", at), low: share("average_2", at), high: share("average_3", at) };
      row.generalisation = change("generalisation", at);
      row.unseen = list("unseen", at);
      row.robustness = change("robustness", at);
      row.stored = [get("samples", at), get("sample_bytes", at), get("state_bytes", at)].map((value) => value || 0);
      row.relative_compute = share("compute", at);
      row.outcomes = [...word("checks", at)].map((sign) => ({ p: "passed", f: "failed", "-": "not checked" })[sign]);
      row.rank = row.bound ? null : (rank += 1);
      return row;
    });
  }
  const SCALARS = ["forgetting", "af", "bwt", "fwt", "learning_accuracy", "next", "average_incremental", "whole", "average_tpr_at_1_fpr", "fpr_drift", "carried_tpr"];
