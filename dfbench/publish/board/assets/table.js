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
  const sorted = (table) => [...table.tHead.rows[0].cells].find((cell) => (cell.getAttribute("aria-sort") || "none") !== "none");
  const opposite = { ascending: "descending", descending: "ascending" };

  function wirePanel(panel) {
    const key = panel.dataset.key, table = panel.querySelector("table.rows"), form = panel.querySelector("form");
    const part = (name) => panel.querySelector(`[data-part="${name}"]`), frame = part("table");
    const status = panel.querySelector(":scope > [data-status]"), find = form.querySelector("[data-find]");
    const bounds = form.querySelector("[data-bounds]"), order = form.querySelector("[data-sort-select]"), picker = form.querySelector(".picker");
    const selects = [...form.querySelectorAll("[data-filter]")], picks = [...form.querySelectorAll("[data-pick]")];
    const heads = new Map([...table.tHead.rows[0].cells].filter((cell) => cell.dataset.column).map((cell) => [cell.dataset.column, cell]));
    const usual = picks.filter((pick) => pick.defaultChecked).map((pick) => pick.dataset.pick).join(",");
    number(table);
    const lines = [...table.tBodies].flatMap((body) => [...body.rows]).map((row) => [row, row.textContent.toLowerCase(), row.querySelector("[data-tick]")]);
    const about = data.tables.find((each) => each.key === key);
    let state = { ...USUAL };

    const tickedIds = () => state.ticked.split(",").filter((id) => lines.some(([row]) => row.dataset.id === id)).slice(0, MOST);
    const shownColumns = () => ["strategy", ...(state.columns || usual).split(",")];
    function change(patch, replace) {
      apply({ ...state, ...patch });
      remember(key, state, replace);
    }
    function showColumns() {
      const wanted = new Set(shownColumns());
      for (const pick of picks) pick.checked = wanted.has(pick.dataset.pick);
      for (const [name, head] of heads) {
        if (head.hidden === !wanted.has(name)) continue;
        head.hidden = !wanted.has(name);
        for (const cell of table.querySelectorAll(`[data-c="${name}"]`)) cell.hidden = head.hidden;
      }
    }
    function filter() {
      const words = state.find.toLowerCase().split(/\s+/).filter(Boolean);
      for (const [row, text] of lines) {
        row.hidden =
          selects.some((select) => select.value && row.dataset[select.dataset.filter] !== select.value) ||
          (state.bounds !== "yes" && row.classList.contains("bound")) ||
          words.some((word) => !text.includes(word));
      }
      form.querySelector("[data-reset]").hidden = !(state.find || selects.some((s) => s.value) || (bounds && state.bounds !== "yes"));
    }
    function tick() {
      const ids = new Set(tickedIds());
      for (const [row, , box] of lines) {
        box.checked = ids.has(row.dataset.id);
        box.disabled = ids.size >= MOST && !box.checked;
      }
      form.querySelector('[data-view="curves"] .count').textContent = ids.size ? ` ${ids.size}` : "";
    }
    function tell() {
      const shown = lines.filter(([row]) => !row.hidden).length, ticked = tickedIds().length, header = heads.get(state.sort);
      const advice = !ticked ? "tick rows to compare their curves" : ticked === 1 ? "one row is ticked; tick another to compare their curves" : `${ticked} rows are ticked${ticked === MOST ? ", the most there can be" : ""}: see Curves`;
      status.textContent = `${shown} of ${lines.length} rows, sorted by ${header.dataset.label}, ${header.getAttribute("aria-sort")}; ${advice}`;
      panel.querySelector("[data-none]").hidden = shown > 0;
    }
    const seen = () => [...table.tBodies].flatMap((body) => [...body.rows]).filter((row) => !row.hidden);
    function look() {
      for (const button of form.querySelectorAll("[data-view]")) button.setAttribute("aria-pressed", String(button.dataset.view === state.view));
      for (const name of ["table", "chart", "curves"]) part(name).hidden = name !== state.view;
      picker.hidden = state.view !== "table";
      if (panel.hidden || board.hidden) return;
      const found = seen().map((row) => rows.get(row.dataset.id).row);
      if (state.view === "chart") part("chart").replaceChildren(costChoice(found), ...scatter(about, found, costOf(found)));
      if (state.view === "curves") part("curves").replaceChildren(...comparison(about, tickedIds().map((id) => rows.get(id).row)));
      // The heading sticks to the window where the table fits, and to its own frame where it has to scroll sideways.
      frame.classList.remove("wide");
      if (state.view === "table" && frame.clientWidth && table.scrollWidth > frame.clientWidth + 1) frame.classList.add("wide");
    }
    /** Compute is relative where more rows have that than a mere count of passes. */
    function costOf(found) {
      if (state.x === "memory") return "memory";
      const continual = found.filter((row) => !row.bound), counted = (name) => continual.filter((row) => known(COSTS[name].value(row))).length;
      return counted("compute") >= counted("passes") ? "compute" : "passes";
    }
    function costChoice() {
      return make("fieldset", { class: "seg" }, make("legend", {}, "Average against"), [["compute", "compute"], ["memory", "memory"]].map(([value, label]) =>
        make("label", {}, make("input", { type: "radio", name: `x-${panel.id}`, value, checked: (state.x === "memory") === (value === "memory"), onchange: () => { change({ x: value }); part("chart").querySelector("input:checked").focus(); } }), label)));
    }
    function apply(next) {
      const sort = heads.has(next.sort) ? next.sort : "average";
      state = { ...next, sort, view: part(next.view) ? next.view : "table" };
      const way = opposite[state.way] ? state.way : heads.get(sort).dataset.order;
      if (find.value !== state.find) find.value = state.find;
      for (const select of selects) {
        select.value = state[select.dataset.filter];
        if (select.selectedIndex < 0) select.value = "";
      }
      if (bounds) bounds.checked = state.bounds === "yes";
      if (sorted(table) !== heads.get(sort) || sorted(table).getAttribute("aria-sort") !== way) sortTable(table, heads.get(sort), way);
      order.value = sort;
      if (order.selectedIndex < 0) order.value = "average";
      showColumns();
      filter();
      tick();
      look();
      tell();
    }

    for (const [name, head] of heads) {
      head.querySelector("button").addEventListener("click", () => {
        const now = head.getAttribute("aria-sort"), way = opposite[now] || head.dataset.order;
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
    for (const [row, , box] of lines) box.addEventListener("change", () => {
      const ids = tickedIds().filter((id) => id !== row.dataset.id);
      change({ ticked: (box.checked ? [...ids, row.dataset.id] : ids).join(",") });
    });
    for (const button of form.querySelectorAll("[data-view]")) button.addEventListener("click", () => change({ view: button.dataset.view }));
    for (const button of form.querySelectorAll("[data-save]")) button.addEventListener("click", () => save(key, button.dataset.save, seenRows(seen(), shownColumns())));
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
    return { apply, look };
  }
