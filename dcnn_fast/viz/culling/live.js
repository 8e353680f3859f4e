// Ratings that a server keeps: 1 to 5 stars, 0 for none, -1 for rejected. They are sent one after another, each once it changes;
// a failure is said, and the rating sent again with the next change of its photograph. `of` gives the stars and the choice of a card.
function serverRatings(of) {
  const known = new Map();  // by card: the rating that the server has
  const rating = (card) => (of(card).choice === "rejected" ? -1 : of(card).stars);
  const alert = document.getElementById("unsaved");
  let saving = Promise.resolve();

  async function asked(way, body) {
    try {
      const how = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
      const answer = await fetch(way, body && how);
      const said = await answer.json();
      return answer.ok ? said : { error: said.error };
    } catch { return { error: "the server does not answer" }; }
  }

  function tell(card, error) {
    card.classList.toggle("unsaved", Boolean(error));
    alert.textContent = error ? card.dataset.name + " was not saved: " + error : "";
  }

  function save(card) {
    saving = saving.then(async () => {
      const wanted = rating(card);
      if (wanted === known.get(card)) return;
      const said = await asked("choice", { photo: Number(card.dataset.rank), rating: wanted });
      if (!said.error) known.set(card, wanted);
      tell(card, said.error);
    });
  }

  async function load(cards, put) {
    const said = await asked("choices");
    if (said.error) { alert.textContent = "ratings were not read: " + said.error; return; }
    for (const card of cards) {
      const given = said.ratings[card.dataset.rank] || 0;
      known.set(card, given);
      const picked = of(card).choice === "picked" ? "picked" : "";
      put(card, given < 0 ? { stars: of(card).stars, choice: "rejected" } : { stars: given, choice: picked });
    }
  }

  return { save, load };
}
