"use strict";

// Sorting: first click from the best (or from A), second the other way, third as the page came.
for (const button of document.querySelectorAll(".sort")) {
  button.addEventListener("click", () => {
    const head = button.closest("th");
    const table = head.closest("table");
    const number = button.dataset.kind === "number";
    const cycle = number ? ["descending", "ascending", "none"] : ["ascending", "descending", "none"];
    const before = head.getAttribute("aria-sort") || "none";
    const direction = cycle[(cycle.indexOf(before) + 1) % 3];
    for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
    if (direction !== "none") head.setAttribute("aria-sort", direction);
    const column = [...head.parentElement.children].indexOf(head);
    const bodies = [...table.tBodies];
    bodies.sort((a, b) => a.dataset.order - b.dataset.order);
    if (direction !== "none") {
      const sign = direction === "ascending" ? 1 : -1;
      const value = (body) => body.rows[0].cells[column].dataset.sort;
      bodies.sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === "" || y === "") return (x === "") - (y === ""); // what has no value comes last, either way
        return sign * (number ? x - y : x.localeCompare(y));
      });
    }
    table.append(...bodies);
  });
}

// Filtering.
const filters = [...document.querySelectorAll("[data-filter]")];
function filter() {
  let shown = 0;
  const bodies = document.querySelectorAll("tbody[data-method]");
  for (const body of bodies) {
    body.hidden = filters.some((select) => select.value !== "*" && select.value !== body.dataset[select.dataset.filter]);
    shown += !body.hidden;
  }
  for (const section of document.querySelectorAll("section.stage")) {
    section.hidden = !section.querySelector("tbody[data-method]:not([hidden])");
  }
  document.getElementById("shown").textContent = `${shown} of ${bodies.length} rows`;
  document.getElementById("nothing").hidden = shown > 0;
}
for (const select of filters) select.addEventListener("change", filter);
filter();

// Expanding: a row's name shows its commands; a score also points at its own evaluation line.
function expand(body, open) {
  body.querySelector(".details").hidden = !open;
  body.querySelector(".expand").setAttribute("aria-expanded", String(open));
}
for (const button of document.querySelectorAll(".expand")) {
  button.addEventListener("click", () => expand(button.closest("tbody"), button.getAttribute("aria-expanded") !== "true"));
}
for (const button of document.querySelectorAll(".cell")) {
  button.addEventListener("click", () => {
    const chosen = document.getElementById(button.dataset.cell);
    const again = chosen.classList.contains("chosen");
    const body = button.closest("tbody");
    for (const other of body.querySelectorAll(".chosen")) other.classList.remove("chosen");
    chosen.classList.toggle("chosen", !again);
    expand(body, !again);
  });
}

// Copying; without the clipboard interface (an insecure address) by way of a selection.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}
for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    await copy(button.parentElement.querySelector("code").textContent);
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
}
