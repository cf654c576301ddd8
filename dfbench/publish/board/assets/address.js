  // --- The address says what is seen -------------------------------------------------------------

  /** What a table shows unless the reader chose otherwise; only what differs is in the address. */
  const USUAL = { view: "table", x: "compute", sort: "average", way: "", find: "", detector: "", strategy: "", preset: "", budget: "", status: "", bounds: "yes", columns: "", ticked: "" };
  const MOST = 5;

  function readAddress() {
    const given = new URLSearchParams(location.hash.slice(1)), state = { ...USUAL };
    for (const key of Object.keys(USUAL)) if (given.has(key)) state[key] = given.get(key);
    return { row: given.get("row"), tab: given.get("tab"), state };
  }
  function addressOf(tab, state) {
    const words = new URLSearchParams();
    words.set("tab", tab);
    for (const [key, value] of Object.entries(state)) if (value !== USUAL[key]) words.set(key, value);
    return `#${words}`;
  }
  /** Tab → the address of its last view, for the way back from a row. */
  const lastViews = new Map();
  function remember(tab, state, replace) {
    const address = addressOf(tab, state);
    lastViews.set(tab, address);
    if (address === location.hash) return;
    history[replace ? "replaceState" : "pushState"](null, "", address);
  }
  const viewOf = (tab) => lastViews.get(tab) || `#tab=${encodeURIComponent(tab)}`;
