  // --- Small things, used by every other part ------------------------------------------------------

  const data = JSON.parse(document.getElementById("data").textContent);
  const board = document.getElementById("board");
  const detail = document.getElementById("detail");
  const METRIC = { auc: "AUC", video_auc: "video AUC", accuracy: "accuracy" };
  document.documentElement.classList.add("js");

  /** An element with properties and children; texts become text nodes, so nothing in a record is ever markup. */
  function make(name, properties, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(properties || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (key === "class") element.className = value;
      else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  }
  function draw(name, attributes, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }
  const write = (attributes, text) => draw("text", attributes, document.createTextNode(text));
  const minus = (text) => text.replace("-", "−");
  const num = (value, digits = 3) => (value === null || value === undefined ? "–" : minus(value.toFixed(digits)));
  const ends = (pair) => (pair && pair[0] !== null ? `${num(pair[0])} – ${num(pair[1])}` : "–");
  const whole = (value) => (value === null || value === undefined ? "–" : Math.round(value).toLocaleString("en").replaceAll(",", "\u202f"));
  const times = (value) => `${value.toFixed(1)} ×`;
  const bytes = (value) => {
    if (value === null || value === undefined) return "–";
    for (const [unit, factor] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) if (value >= factor) return `${(value / factor).toFixed(1)} ${unit}`;
    return `${value} B`;
  };
  const known = (value) => value !== null && value !== undefined;
  const mean = (values) => (values.length && values.every(known) ? values.reduce((a, b) => a + b, 0) / values.length : null);
  /** Sample standard deviation; null of fewer than two. */
  function spread(values) {
    const middle = mean(values);
    if (middle === null || values.length < 2) return null;
    return Math.sqrt(values.reduce((sum, v) => sum + (v - middle) ** 2, 0) / (values.length - 1));
  }
  const seedCount = (row) => `${row.runs.length} ${row.runs.length === 1 ? "seed" : "seeds"}`;
  const titled = (row) => [row.strategy, ...row.options.filter((o) => o.startsWith("strategy.")).map((o) => o.slice(9)), "with", row.detector,
    ...(row.preset === "default" ? [] : [row.preset]), ...row.options.filter((o) => !o.startsWith("strategy."))].join(" ");

  const live = make("p", { class: "sr", role: "status" });
  document.body.append(live);
  const say = (text) => { live.textContent = text; };
  function copyButton(text, what) {
    const button = make("button", { type: "button", class: "copy" }, "Copy");
    button.addEventListener("click", async () => {
      let done = false;
      try { await navigator.clipboard.writeText(text); done = true; } catch (error) {
        const area = make("textarea", { "aria-hidden": "true" }, text);
        document.body.append(area);
        area.select();
        done = document.execCommand("copy");
        area.remove();
        button.focus();
      }
      button.textContent = done ? "Copied" : "Select and copy";
      say(done ? `${what} copied` : "Copying failed; select the text");
    });
    return button;
  }
