// What a person chooses is kept by the browser under the page's key, and leaves it as a CSV file. Nothing is fetched. On a page
// that a server gives out live.js is there besides, which keeps the server's ratings.
(() => {
  const list = document.getElementById("photos");
  const cards = Array.from(list.children);
  const storage = "dcnn-fast " + document.body.dataset.key;
  const field = (id) => document.getElementById(id);
  const chosen = new Map(Object.entries(read()));  // by path: {stars, choice}
  const of = (card) => chosen.get(card.dataset.path) || { stars: 0, choice: "" };
  const live = typeof serverRatings === "function" ? serverRatings(of, storage) : null;
  const past = [];  // what choices were before, the last one at the end
  let compared = [];
  let enlarged = [];  // the cards whose photographs are shown large
  let heated = false;  // whether heat maps are drawn over them

  function read() {
    try { return JSON.parse(localStorage.getItem(storage)) || {}; } catch { return {}; }
  }

  function keep() {
    try { localStorage.setItem(storage, JSON.stringify(Object.fromEntries(chosen))); } catch { field("count").textContent = "choices cannot be kept here: save them"; }
  }


  function show(card) {
    const { stars, choice } = of(card);
    card.querySelector(".given").textContent = "★".repeat(stars);
    card.classList.toggle("picked", choice === "picked");
    card.classList.toggle("rejected", choice === "rejected");
    const said = [card.querySelector(".value").textContent, stars ? stars + " stars" : "", choice].filter(Boolean).join(", ");
    card.setAttribute("aria-label", card.dataset.name + ", " + said);
    card.querySelector("img").alt = card.dataset.name + ", " + said;
  }

  function set(card, change) {
    past.push([card, of(card)]);
    put(card, { ...of(card), ...change });
  }

  function put(card, value) {
    if (value.stars || value.choice) chosen.set(card.dataset.path, value); else chosen.delete(card.dataset.path);
    show(card);
    keep();
    tell();
    live?.save(card);
  }

  function back() {
    const last = past.pop();
    if (!last) return;
    put(last[0], last[1]);
    go(last[0]);
  }

  // Sorting and filtering.

  const orders = {
    rank: (a, b) => a.dataset.rank - b.dataset.rank,
    worst: (a, b) => b.dataset.rank - a.dataset.rank,
    name: (a, b) => a.dataset.name.localeCompare(b.dataset.name, undefined, { numeric: true }),
    taken: (a, b) => (a.dataset.taken || "~").localeCompare(b.dataset.taken || "~"),
    group: (a, b) => (a.dataset.group || Infinity) - (b.dataset.group || Infinity),
    stars: (a, b) => of(b).stars - of(a).stars,
  };

  function passes(card) {
    const { stars, choice } = of(card);
    const value = (id) => (field(id) ? field(id).value : "");
    const faults = card.dataset.faults.split(" ").filter(Boolean);
    if (value("stars") !== "" && stars !== Number(value("stars"))) return false;
    if (value("choice") !== "" && (choice || "open") !== value("choice")) return false;
    if (value("group") === "in" && !card.dataset.group) return false;
    if (value("group") === "best" && card.dataset.group && !card.dataset.best) return false;
    if (value("fault") !== "" && !(value("fault") === "none" ? faults.length === 0 : faults.includes(value("fault")))) return false;
    const searched = value("search").trim().toLowerCase();
    return !searched || card.querySelector(".name").title.toLowerCase().includes(searched);
  }

  function arrange() {
    const order = orders[field("sort").value];
    list.append(...cards.slice().sort((a, b) => order(a, b) || orders.rank(a, b)));
    for (const card of cards) card.hidden = !passes(card);
    const first = visible()[0];
    if (first && (!current() || current().hidden)) turn(first);
    tell();
  }

  function tell() {
    const picked = cards.filter((card) => of(card).choice === "picked").length;
    const rejected = cards.filter((card) => of(card).choice === "rejected").length;
    field("count").textContent = `${visible().length} of ${cards.length} shown, ${picked} picked, ${rejected} rejected`;
  }

  // Going from one to another: one card at a time can be reached by tab.

  const visible = () => Array.from(list.children).filter((card) => !card.hidden);
  const current = () => list.querySelector('[tabindex="0"]');

  function turn(card) {
    for (const other of list.querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
    card.tabIndex = 0;
  }

  function go(card) {
    if (!card) return;
    turn(card);
    card.focus();
    card.scrollIntoView({ block: "nearest" });
    if (field("large").open && compared.length < 2) enlarge([card]);
  }

  function step(key) {
    const all = visible();
    const at = all.indexOf(current());
    if (key === "ArrowLeft") return go(all[Math.max(0, at - 1)]);
    if (key === "ArrowRight") return go(all[Math.min(all.length - 1, at + 1)]);
    const row = all.filter((card) => card.offsetTop === all[0].offsetTop).length || 1;
    return go(all[Math.min(all.length - 1, Math.max(0, at + (key === "ArrowDown" ? row : -row)))]);
  }

  // The photograph itself, alone or beside another.

  function enlarge(those, hot = heated && field("large").open) {
    enlarged = those;
    heated = hot;
    field("shown").replaceChildren(...those.map((card) => {
      const frame = document.createElement("div");
      frame.className = "frame";
      const image = document.createElement("img");
      image.alt = card.querySelector("img").alt;
      image.src = card.querySelector("a").href;
      image.onerror = () => { image.onerror = null; image.src = card.querySelector("img").src; };
      frame.append(image);
      return frame;
    }));
    field("told").textContent = those.map((card) => card.getAttribute("aria-label")).join("   |   ");
    heat();
    if (!field("large").open) field("large").showModal();
  }

  function heat() {
    if (!field("heat")) return;
    const hot = enlarged.filter((card) => card.dataset.heat);
    field("heat").hidden = hot.length === 0;
    field("heat").setAttribute("aria-pressed", String(heated));
    enlarged.forEach((card, at) => {
      const frame = field("shown").children[at];
      frame.classList.toggle("heated", heated && hot.includes(card));
      frame.querySelector("svg")?.remove();
      if (heated && hot.includes(card)) frame.append(heatMap(card, field("blank"), field("heat").dataset));
    });
    const said = (card) => card.dataset.heat ? card.querySelector(".heat").title : "no heat map (--heat-maps makes them of the best)";
    const name = (card) => enlarged.length > 1 ? card.dataset.name + ": " : "";
    field("read").textContent = heated ? enlarged.map((card) => name(card) + said(card)).join("   |   ") : "";
    for (const about of document.querySelectorAll(".about")) about.hidden = !(heated && hot.some((card) => card.dataset.kind === about.dataset.kind));
  }

  function turnHeat(card) {
    if (!field("large").open) return enlarge([card], true);
    heated = !heated;
    heat();
  }

  function compare(card) {
    compared = compared.includes(card) ? compared.filter((other) => other !== card) : [...compared.slice(-1), card];
    for (const other of cards) other.classList.toggle("compared", compared.includes(other));
    if (compared.length === 2) enlarge(compared);
  }

  field("large").addEventListener("close", () => {
    if (compared.length === 2) { compared = []; for (const card of cards) card.classList.remove("compared"); }
    if (current()) current().focus();
  });

  // Out of the page.

  function csv() {
    const quoted = (text) => /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
    const rows = cards.filter((card) => chosen.has(card.dataset.path)).map((card) => {
      const { stars, choice } = of(card);
      return [quoted(card.dataset.path), stars || "", choice].join(",");
    });
    return ["path,rating,choice", ...rows].join("\n") + "\n";
  }

  field("export").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    link.download = "choices.csv";
    link.click();
    URL.revokeObjectURL(link.href);
  });

  // Keys.

  const letters = { p: { choice: "picked" }, x: { choice: "rejected" }, u: { choice: "" } };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input, select")) { if (event.key === "Escape" && current()) current().focus(); return; }
    const card = current();
    if (event.key === "/") field("search").focus();
    else if (event.key === "z") back();
    else if (!card || card.hidden) return;
    else if (event.key.startsWith("Arrow")) step(event.key);
    else if (/^[0-5]$/.test(event.key)) set(card, { stars: Number(event.key) });
    else if (event.key in letters) set(card, letters[event.key]);
    else if (event.key === "c") compare(card);
    else if (event.key === "h" && field("heat")) turnHeat(card);
    else if (event.key === "Enter" && !event.target.matches("button")) enlarge([card]);
    else return;
    event.preventDefault();
  });

  list.addEventListener("click", (event) => {
    const card = event.target.closest(".photo");
    if (!card) return;
    event.preventDefault();
    if (card === current() && event.target.matches("img")) enlarge([card]); else go(card);
  });
  field("heat")?.addEventListener("click", () => turnHeat(current()));
  field("help").addEventListener("click", () => {
    field("keys").hidden = !field("keys").hidden;
    field("help").setAttribute("aria-expanded", String(!field("keys").hidden));
  });
  field("tools").addEventListener("input", arrange);
  field("tools").addEventListener("submit", (event) => event.preventDefault());
  field("tools").hidden = false;
  cards.forEach(show);
  tell();
  live?.load(cards, (card, value) => {
    if (value.stars || value.choice) chosen.set(card.dataset.path, value); else chosen.delete(card.dataset.path);
    show(card);
  }).then(() => { keep(); arrange(); });
})();
