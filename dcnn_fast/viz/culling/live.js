// Ratings that a server keeps: 1 to 5 stars, 0 for none, -1 for rejected. They are sent one after another, each once it changes,
// and none before it is known what the server has; a failure is said, and the rating sent again with the next change of its
// photograph and when the page is opened again. `of` gives the stars and the choice of a card. storage: the page's key.
function serverRatings(of, storage) {
  const known = new Map();  // by card: the rating that the server has
  const unsaved = new Set(read());  // paths of photographs whose rating the server may not have
  const wrong = new Map();  // by card: what is to be said of it
  const rating = (card) => (of(card).choice === "rejected" ? -1 : of(card).stars);
  const alert = document.getElementById("unsaved");
  let begin, isKept = true;
  let saving = new Promise((resolve) => { begin = resolve; });

  function read() {
    try { return JSON.parse(localStorage.getItem(storage + " unsaved")) || []; } catch { return []; }
  }

  function keep() {
    try { localStorage.setItem(storage + " unsaved", JSON.stringify([...unsaved])); } catch { isKept = false; }
  }

  addEventListener("beforeunload", (event) => { if (unsaved.size && !isKept) event.preventDefault(); });

  async function asked(way, body) {
    try {
      const how = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
      const answer = await fetch(way, body && how);
      const said = await answer.json();
      return answer.ok ? said : { error: said.error };
    } catch { return { error: "the server does not answer" }; }
  }

  function tell(card, error) {
    if (error) wrong.set(card, card.dataset.name + " " + error); else wrong.delete(card);
    card.classList.toggle("unsaved", Boolean(error));
    alert.textContent = [...wrong.values()].join("; ");
  }

  function save(card) {
    unsaved.add(card.dataset.path);
    keep();
    saving = saving.then(async () => {
      const wanted = rating(card);
      const said = wanted === known.get(card) ? {} : await asked("choice", { photo: Number(card.dataset.rank), rating: wanted });
      if (!said.error) known.set(card, wanted);
      if (!said.error && rating(card) === wanted) unsaved.delete(card.dataset.path);
      keep();
      tell(card, said.error && "was not saved: " + said.error);
    });
  }

  async function load(cards, put) {
    const said = await asked("choices");
    if (said.error) alert.textContent = "ratings were not read: " + said.error;
    for (const card of said.error ? [] : cards) {
      const given = said.ratings[card.dataset.rank] || 0, why = said.unreadable[card.dataset.rank];
      if (why) tell(card, "has a rating that cannot be read: " + why); else known.set(card, given);
      if (unsaved.has(card.dataset.path)) continue;  // chosen meanwhile, or before and not saved
      const picked = of(card).choice === "picked" ? "picked" : "";
      put(card, given < 0 ? { stars: of(card).stars, choice: "rejected" } : { stars: given, choice: picked });
    }
    cards.filter((card) => unsaved.has(card.dataset.path)).forEach(save);
    begin();
  }

  return { save, load };
}
