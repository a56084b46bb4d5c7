// Shows the rows that match while a name is typed, and "/" leads to the search box. The page is
// complete without: the server searches, too, and it alone knows patterns and other pages.
const box = document.querySelector("[type=search]");
const fold = text => text.normalize().toLowerCase();
let count, counted, rows, names;

function read() {
  count = document.querySelector("caption [role=status]");
  counted = count && [...count.childNodes];
  rows = [...document.querySelectorAll(".files tbody tr")];
  names = rows.map(row => fold(row.querySelector("a").textContent));
}

function filter() {
  if (!count) return;
  const text = fold(box.value.trim());
  const isActive = box.value !== box.defaultValue && !/[*?[]/.test(text);
  rows.forEach((row, i) => { row.hidden = isActive && !names[i].includes(text); });
  const shown = rows.filter(row => !row.hidden).length;
  if (isActive) count.textContent = `${shown} of ${rows.length} on this page`;
  else count.replaceChildren(...counted);
}

read();
box.addEventListener("input", filter);
addEventListener("pageshow", filter);
// Another script has put the table of now in its place.
document.addEventListener("listing", () => {
  read();
  filter();
});
addEventListener("keydown", event => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select")) return;
  event.preventDefault();
  box.focus();
  box.select();
});
