  // --- Tables of papers ---------------------------------------------------------------------------

  function wirePaper(section) {
    const table = section.querySelector("table"), status = section.querySelector("[data-status]");
    number(table);
    for (const header of table.tHead.rows[0].cells) header.querySelector("button").addEventListener("click", () => {
      sortTable(table, header, opposite[header.getAttribute("aria-sort")] || header.dataset.order);
      status.textContent = `sorted by ${header.textContent.trim()}, ${header.getAttribute("aria-sort")}`;
    });
  }

  /** The tab of papers: rows that hold the words, in whichever table they stand. */
  function wirePapers(panel) {
    const find = panel.querySelector("[data-find]"), found = panel.querySelector("[data-found]"), none = panel.querySelector("[data-none]");
    const groups = [...panel.querySelectorAll(".protocol")], key = panel.dataset.key;
    let shown = "";
    const textOf = (...parts) => parts.map((each) => each.textContent).join(" ").toLowerCase();
    function search(section, words) {
      const has = (text) => words.every((word) => text.includes(word));
      const rows = [...section.querySelectorAll(".printed tbody tr")], about = textOf(section.querySelector("h4"), section.querySelector(".about"));
      const all = has(about);
      for (const row of rows) row.hidden = !all && !has(`${about} ${textOf(...row.cells)}`);
      return rows.filter((row) => !row.hidden).length;
    }
    function apply(state) {
      const wanted = state.find.trim().toLowerCase(), words = wanted.split(/\s+/);
      if (find.value.trim().toLowerCase() !== wanted) find.value = state.find;
      if (wanted === shown) return;
      let rows = 0, tables = 0;
      for (const group of groups) {
        let here = 0;
        for (const section of group.querySelectorAll(".reported")) {
          const count = search(section, words);
          section.hidden = count === 0;
          here += count;
          tables += count > 0;
        }
        group.hidden = here === 0;
        group.querySelector("[data-count]").textContent = here;
        group.open = wanted !== "" && here > 0;
        rows += here;
      }
      for (const head of panel.querySelectorAll("h3")) {
        let next = head.nextElementSibling, some = false;
        for (; next && next.matches(".protocol"); next = next.nextElementSibling) some ||= !next.hidden;
        head.hidden = !some;
      }
      none.hidden = rows > 0;
      found.textContent = wanted ? `${rows} ${rows === 1 ? "row" : "rows"} in ${tables} ${tables === 1 ? "table" : "tables"}` : "";
      shown = wanted;
    }
    find.addEventListener("input", () => {
      const state = { ...USUAL, find: find.value };
      remember(key, state, true);
      apply(state);
    });
    panel.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
    for (const group of groups) group.querySelector("summary").addEventListener("click", () => {
      if (!shown && !group.open) history.replaceState(null, "", `#tab=${encodeURIComponent(group.dataset.protocol)}`);
    });
    return { apply, look() {} };
  }
