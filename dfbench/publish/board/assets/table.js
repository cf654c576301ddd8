  // --- Tables: sorting, filtering, columns, and the charts of what is seen -------------------------------

  /** "" sorts last whichever way; numbers as numbers. */
  function compareValues(a, b, sign) {
    if (a === "" || b === "") return (a === "") - (b === "");
    const x = Number(a), y = Number(b);
    if (!Number.isNaN(x) && !Number.isNaN(y)) return sign * (x - y);
    return sign * a.localeCompare(b, "en", { numeric: true });
  }
  function sortTable(table, header, way) {
    const index = header.cellIndex, sign = way === "ascending" ? 1 : -1;
    for (const body of table.tBodies) {
      const keyed = [...body.rows].map((row) => [row.cells[index].dataset.v ?? "", Number(row.dataset.at), row]);
      keyed.sort((a, b) => compareValues(a[0], b[0], sign) || a[1] - b[1]);
      body.append(...keyed.map((entry) => entry[2]));
    }
    for (const other of table.tHead.rows[0].cells) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", other === header ? way : "none");
  }
  const number = (table) => [...table.tBodies].flatMap((body) => [...body.rows]).forEach((row, at) => { row.dataset.at = at; });
  const opposite = { ascending: "descending", descending: "ascending" };

  /** Rows that are drawn until the reader asks for all of them. */
  const FIRST = 100;

  function wirePanel(panel) {
    const key = panel.dataset.key, about = tables.get(key), table = panel.querySelector("table.rows"), form = panel.querySelector("form");
    const part = (name) => panel.querySelector(`[data-part="${name}"]`), frame = part("table"), more = panel.querySelector("[data-more]");
    const status = panel.querySelector(":scope > [data-status]"), find = form.querySelector("[data-find]"), loading = panel.querySelector("[data-loading]");
    const bounds = form.querySelector("[data-bounds]"), order = form.querySelector("[data-sort-select]"), picker = form.querySelector(".picker");
    const selects = [...form.querySelectorAll("[data-filter]")], picks = [...form.querySelectorAll("[data-pick]")];
    const heads = new Map([...table.tHead.rows[0].cells].filter((cell) => cell.dataset.column).map((cell) => [cell.dataset.column, cell]));
    const usual = picks.filter((pick) => pick.defaultChecked).map((pick) => pick.dataset.pick).join(",");
    const [above, below] = table.tBodies, lines = new Map();
    let state = { ...USUAL }, all = null, texts = null, highest = null, most = 0, found = [], every = false, direction = "descending";

    const tickedIds = () => state.ticked.split(",").filter((id) => places.get(id) === about).slice(0, MOST);
    const shownColumns = () => ["strategy", ...(state.columns || usual).split(",")];
    function change(patch, replace) {
      apply({ ...state, ...patch });
      remember(key, state, replace);
    }
    /** The rows of this table, once they are here. */
    async function load() {
      if (all) return;
      const rows = await rowsOf(about);
      texts = new Map(rows.map((row) => [row, wordsOf(row)]));
      highest = new Map();
      for (const row of rows) if (row.bound && !row.baseline && row.average) highest.set(kindOf(row), Math.max(highest.get(kindOf(row)) ?? 0, row.average.mean));
      most = new Set(rows.flatMap((row) => row.unseen)).size;
      all = rows;
      loading.hidden = true;
    }
    const kindOf = (row) => `${row.detector} ${row.preset}`;
    function showColumns() {
      const wanted = new Set(shownColumns());
      for (const pick of picks) pick.checked = wanted.has(pick.dataset.pick);
      for (const [name, head] of heads) {
        if (head.hidden === !wanted.has(name)) continue;
        head.hidden = !wanted.has(name);
        for (const line of lines.values()) line.querySelector(`[data-c="${name}"]`).hidden = head.hidden;
      }
    }
    function filter() {
      const words = state.find.toLowerCase().split(/\s+/).filter(Boolean), by = (name, row) => String(row[name]);
      const wanted = selects.filter((select) => select.value).map((select) => [select.dataset.filter, select.value]);
      found = all.filter((row) => wanted.every(([name, value]) => by(name, row) === value) && (state.bounds === "yes" || !row.bound) && words.every((word) => texts.get(row).includes(word)));
      form.querySelector("[data-reset]").hidden = !(state.find || wanted.length || (bounds && state.bounds !== "yes"));
    }
    function sort() {
      const value = VALUES[state.sort], sign = direction === "ascending" ? 1 : -1;
      for (const [name, head] of heads) head.setAttribute("aria-sort", name === state.sort ? direction : "none");
      found = found.map((row) => [value(row) ?? "", row]).sort((a, b) => compareValues(a[0], b[0], sign) || a[1].at - b[1].at).map((entry) => entry[1]);
    }
    /** What is drawn of the rows that are found: bounds stand above, of many rows the first. */
    function fill() {
      const columns = [...heads].map(([name, head]) => [name, head.dataset.label, head.hidden]);
      const line = (row) => {
        if (!lines.has(row.id)) lines.set(row.id, lineOf(row, columns, row.bound ? null : highest.get(kindOf(row)), most, ticked));
        return lines.get(row.id);
      };
      const [references, ranked] = [found.filter((row) => row.bound), found.filter((row) => !row.bound)];
      const cut = every ? Infinity : FIRST;
      above.replaceChildren(...references.slice(0, cut).map(line));
      below.replaceChildren(...ranked.slice(0, cut).map(line));
      const left = [references, ranked].reduce((sum, rows) => sum + Math.max(rows.length - cut, 0), 0);
      more.hidden = !left || state.view !== "table";
      if (left) more.firstElementChild.textContent = `Show ${left} more rows`;
    }
    function tick() {
      const ids = new Set(tickedIds());
      for (const line of lines.values()) {
        const box = line.querySelector("[data-tick]");
        box.checked = ids.has(line.dataset.id);
        box.disabled = ids.size >= MOST && !box.checked;
      }
      form.querySelector('[data-view="curves"] .count').textContent = ids.size ? ` ${ids.size}` : "";
    }
    function ticked(id, checked) {
      const ids = tickedIds().filter((each) => each !== id);
      change({ ticked: (checked ? [...ids, id] : ids).join(",") });
    }
    function tell() {
      const ticks = tickedIds().length, header = heads.get(state.sort);
      const advice = !ticks ? "tick rows to compare their curves" : ticks === 1 ? "one row is ticked; tick another to compare their curves" : `${ticks} rows are ticked${ticks === MOST ? ", the most there can be" : ""}: see Curves`;
      status.textContent = `${found.length} of ${all.length} rows, sorted by ${header.dataset.label}, ${direction}; ${advice}`;
      panel.querySelector("[data-none]").hidden = found.length > 0;
    }
    /** In the order of the table: bounds first. */
    const seen = () => [...found.filter((row) => row.bound), ...found.filter((row) => !row.bound)];
    function look() {
      for (const button of form.querySelectorAll("[data-view]")) button.setAttribute("aria-pressed", String(button.dataset.view === state.view));
      for (const name of ["table", "chart", "curves"]) part(name).hidden = name !== state.view;
      picker.hidden = state.view !== "table";
      if (!all || panel.hidden || board.hidden) return;
      if (state.view === "chart") part("chart").replaceChildren(costChoice(), ...scatter(about, seen(), costOf(found)));
      if (state.view === "curves") curvesOfTicked();
      // The heading sticks to the window where the table fits, and to its own frame where it has to scroll sideways.
      frame.classList.remove("wide");
      if (state.view === "table" && frame.clientWidth && table.scrollWidth > frame.clientWidth + 1) frame.classList.add("wide");
    }
    async function curvesOfTicked() {
      const ids = tickedIds();
      try {
        const chosen = await Promise.all(ids.map(wholeRow));
        if (ids.join() === tickedIds().join()) part("curves").replaceChildren(...comparison(about, chosen.map(({ row }) => row)));
      } catch (error) { part("curves").replaceChildren(make("p", { class: "none" }, error.message)); }
    }
    /** Compute is relative where more rows have that than a mere count of passes. */
    function costOf(rows) {
      if (state.x === "memory") return "memory";
      const continual = rows.filter((row) => !row.bound), counted = (name) => continual.filter((row) => known(COSTS[name].value(row))).length;
      return counted("compute") >= counted("passes") ? "compute" : "passes";
    }
    function costChoice() {
      return make("fieldset", { class: "seg" }, make("legend", {}, "Average against"), [["compute", "compute"], ["memory", "memory"]].map(([value, label]) =>
        make("label", {}, make("input", { type: "radio", name: `x-${panel.id}`, value, checked: (state.x === "memory") === (value === "memory"), onchange: () => { change({ x: value }); part("chart").querySelector("input:checked").focus(); } }), label)));
    }
    function apply(next) {
      const by = heads.has(next.sort) ? next.sort : "average";
      state = { ...next, sort: by, view: part(next.view) ? next.view : "table" };
      direction = opposite[state.way] ? state.way : heads.get(by).dataset.order;
      if (find.value !== state.find) find.value = state.find;
      for (const select of selects) {
        select.value = state[select.dataset.filter];
        if (select.selectedIndex < 0) select.value = "";
      }
      if (bounds) bounds.checked = state.bounds === "yes";
      order.value = by;
      if (order.selectedIndex < 0) order.value = "average";
      showColumns();
      if (!all) { load().then(() => apply(state), (error) => { loading.textContent = error.message; }); return; }
      filter();
      sort();
      fill();
      tick();
      look();
      tell();
    }

    for (const [name, head] of heads) {
      head.querySelector("button").addEventListener("click", () => {
        const way = name === state.sort ? opposite[direction] : head.dataset.order;
        change({ sort: name, way: way === head.dataset.order ? "" : way });
      });
    }
    find.addEventListener("input", () => change({ find: find.value }, true));
    for (const select of selects) select.addEventListener("change", () => change({ [select.dataset.filter]: select.value }));
    if (bounds) bounds.addEventListener("change", () => change({ bounds: bounds.checked ? "yes" : "no" }));
    for (const pick of picks) pick.addEventListener("change", () => {
      const wanted = picks.filter((each) => each.checked).map((each) => each.dataset.pick).join(",");
      change({ columns: wanted === usual ? "" : wanted || "none" });
    });
    more.firstElementChild.addEventListener("click", () => { every = true; apply(state); });
    for (const button of form.querySelectorAll("[data-view]")) button.addEventListener("click", () => change({ view: button.dataset.view }));
    for (const button of form.querySelectorAll("[data-save]")) button.addEventListener("click", () => all && save(key, button.dataset.save, seenRows(seen(), shownColumns())));
    order.addEventListener("change", () => change({ sort: order.value, way: "" }));
    form.querySelector("[data-direction]").addEventListener("click", () => heads.get(state.sort).querySelector("button").click());
    const fold = form.querySelector("[data-fold]");
    fold.addEventListener("click", () => fold.setAttribute("aria-expanded", String(fold.getAttribute("aria-expanded") !== "true")));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.querySelector("[data-reset]").addEventListener("click", (event) => {
      event.preventDefault();
      change({ find: "", bounds: "yes", ...Object.fromEntries(selects.map((select) => [select.dataset.filter, ""])) });
      find.focus();
    });
    picker.addEventListener("keydown", (event) => { if (event.key === "Escape") { picker.open = false; picker.querySelector("summary").focus(); } });
    document.addEventListener("click", (event) => { if (!picker.contains(event.target)) picker.open = false; });
    window.addEventListener("resize", look);
    return { apply, look, load };
  }
