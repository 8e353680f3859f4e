"use strict";
// The heat map of a card's photograph, to lie over it as it is shown: a cell for each value.
// blank: an svg without content. low, high: colors. strength: of both.
function heatMap(card, blank, { low, high, strength }) {
  const made = (name, attributes) => {
    const element = document.createElementNS(blank.namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const rows = JSON.parse(card.dataset.heat);
  const away = (value) => (value === null ? 0 : value - Number(card.dataset.middle));
  const span = Math.max(...rows.flat().map((value) => Math.abs(away(value)))) || 1;
  const [width, height] = card.dataset.size.split(" ").map(Number);
  const tall = height / rows.length, wide = width / rows[0].length;
  const map = made("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": card.querySelector(".heat").title });
  rows.forEach((row, down) => row.forEach((value, along) => {
    const share = away(value) / span;
    const cell = made("rect", {
      x: along * wide, y: down * tall, width: wide, height: tall, "shape-rendering": "crispEdges",
      fill: share === 0 ? "none" : share < 0 ? low : high, "fill-opacity": Math.abs(share) * strength,
    });
    const title = made("title", {});
    title.textContent = `row ${down + 1}, column ${along + 1}: ${value === null ? "no window looked" : value.toFixed(4)}`;
    cell.append(title);
    map.append(cell);
  }));
  return map;
}

