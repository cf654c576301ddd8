  // --- Tabs, and showing what the address says -------------------------------------------------------

  const tabs = [...document.querySelectorAll('[role="tab"]')], panels = [...document.querySelectorAll(".panel")];
  const wired = new Map();
  for (const panel of panels) if (panel.querySelector("table.rows")) wired.set(panel.dataset.key, wirePanel(panel));
  for (const section of document.querySelectorAll(".reported")) wirePaper(section);
  for (const panel of panels) if (panel.querySelector(".protocol")) wired.set(panel.dataset.key, wirePapers(panel));
  const bibtex = document.getElementById("bibtex");
  bibtex.after(copyButton(bibtex.textContent.trim(), "Citation"));

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
    return tab && tab.dataset.key;
  }
  tabs.forEach((tab, i) => {
    tab.addEventListener("click", () => { location.hash = viewOf(tab.dataset.key); });
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

  let left = null, scrolledTo = 0;
  async function showRow(id) {
    const table = places.get(id), asked_ = location.hash;
    if (!board.hidden) scrolledTo = window.scrollY;
    left = id;
    select(table.key);
    let title;
    try {
      const found = await wholeRow(id);
      if (location.hash !== asked_) return;  // the reader went on before it was here
      title = openRow(found);
    } catch (error) {
      title = make("h2", { tabindex: "-1" }, error.message);
      detail.replaceChildren(make("a", { class: "back", href: viewOf(table.key) }, `← All rows of ${table.key}`), title);
    }
    board.hidden = true;
    detail.hidden = false;
    document.body.classList.add("reading");
    window.scrollTo({ top: 0, behavior: "instant" });
    title.focus({ preventScroll: true });
  }
  async function show(first) {
    // A link to a part of this page, not to a view.
    if (!first && /^#[a-z]+$/.test(location.hash) && document.getElementById(location.hash.slice(1))) return;
    const { row: wantedRow, tab, state } = readAddress();
    if (places.has(wantedRow)) { await showRow(wantedRow); return; }
    const back = board.hidden;
    board.hidden = false;
    detail.hidden = true;
    document.body.classList.remove("reading");
    detail.replaceChildren();
    document.title = "dfbench leaderboard";
    const section = tab === null ? null : [...document.querySelectorAll("[data-protocol]")].find((each) => each.dataset.protocol === tab);
    const inPapers = section && section.closest(".panel").dataset.key;
    const key = select(inPapers || tab || (tabs[0] && tabs[0].dataset.key));
    if (wired.has(key)) {
      if (tab === key) lastViews.set(key, location.hash);
      wired.get(key).apply(state);
      if (back && left && wired.get(key).load) await wired.get(key).load().catch(() => {});
    }
    if (section && !tabs.some((each) => each.dataset.key === tab)) {
      if (section.matches("details")) section.open = true;
      section.scrollIntoView({ block: "start", behavior: "instant" });
      section.focus({ preventScroll: true });
    }
    if (back && left) {
      window.scrollTo({ top: scrolledTo, behavior: "instant" });
      const link = board.querySelector(`[data-id="${CSS.escape(left)}"] th a`);
      if (link && link.offsetParent) link.focus({ preventScroll: true });
    }
  }
  window.addEventListener("hashchange", () => show(false));
  show(true);
