"use strict";
// The page's controls set what its charts show; a click on a table's head sorts it.

const charts = JSON.parse(document.getElementById("charts").textContent);
const views = [];

function shown() {
  const boxes = document.querySelectorAll('#controls input[name="controller"]:checked');
  return Array.from(boxes, (box) => box.value);
}

function update() {
  const signals = {
    dataset: document.getElementById("dataset").value,
    kind: document.getElementById("kind").value,
    shown: shown(),
  };
  for (const view of views) {
    for (const [name, value] of Object.entries(signals)) view.signal(name, value);
    view.runAsync();
  }
  document.getElementById("vg-tooltip-element")?.classList.remove("visible"); // its mark may be gone
}

async function draw(id, specification) {
  const embedded = await vegaEmbed("#" + id, specification, { ast: true, renderer: "svg", actions: false });
  views.push(embedded.view);
}

function sortBy(table, column, head) {
  const descending = head.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const key = (row) => row.cells[column].textContent.trim();
  const compare = (a, b) => {
    const [x, y] = [parseFloat(key(a)), parseFloat(key(b))];
    return isNaN(x) || isNaN(y) ? key(a).localeCompare(key(b)) : x - y;
  };
  const rows = Array.from(table.tBodies[0].rows).sort(compare);
  table.tBodies[0].append(...(descending ? rows.reverse() : rows));
}

for (const table of document.querySelectorAll("table.sortable")) {
  Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => sortBy(table, column, head));
  });
}

document.getElementById("controls").addEventListener("change", update);
document.getElementById("all").addEventListener("click", () => toggleAll(true));
document.getElementById("none").addEventListener("click", () => toggleAll(false));

function toggleAll(checked) {
  for (const box of document.querySelectorAll('#controls input[name="controller"]')) box.checked = checked;
  update();
}

Promise.all(Object.entries(charts).map(([id, specification]) => draw(id, specification))).then(() => {
  update();
  document.body.dataset.drawn = "yes";
});
