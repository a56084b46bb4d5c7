// Shows one model or two, and steps through them. The page is complete without: then all models are
// below one another, and each step has its call behind a click.
const find = selector => document.querySelector(selector);
const all = (selector, of = document) => [...of.querySelectorAll(selector)];
const sections = all(".model");
const links = all(".overview a");
const player = find(".player");
const now = find(".player .now");
const range = find("#step");
const other = find("#other");
const languages = all("[name=language]");
let shown = sections[0];
let step = 0;
let timer = 0;

const rowsOf = section => all(".grid li", section);
const rows = () => rowsOf(shown);
const visible = () => [shown, ...sections.filter(one => one.id === other.value && one !== shown)];

function veil(section, position) {
  const grid = find(`#${section.id} .grid`);
  const last = rowsOf(section).length;
  let cover = grid.querySelector(".veil");
  if (!cover) {
    cover = document.createElement("div");
    cover.className = "veil";
    grid.append(cover);
  }
  cover.hidden = position >= last - 1;
  cover.style.gridRow = `${position + 3} / ${last + 2}`;
}

function describe(row) {
  now.replaceChildren();
  const line = document.createElement("div");
  line.append(...all("summary, p", row)[0].cloneNode(true).childNodes);
  now.append(line);
  const number = row.querySelector("[data-step]")?.dataset.step;
  const item = number && all(".book li", row.closest(".model"))[number - 1];
  if (item) {
    const text = document.createElement("div");
    text.append(`${number}. `, ...item.cloneNode(true).childNodes);
    now.append(text);
  }
  now.append(...all("details > code, details > small", row).map(part => part.cloneNode(true)));
}

function go(position, scrolls = true) {
  step = Math.max(0, Math.min(position, rows().length - 1));
  for (const section of visible()) {
    const mine = rowsOf(section);
    const at = Math.min(step, mine.length - 1);
    mine.forEach((row, i) => row.classList.toggle("now", i === at));
    veil(section, at);
    const number = mine[at].querySelector("[data-step]")?.dataset.step;
    all(".book li", section).forEach((item, i) => item.classList.toggle("now", i + 1 === +number));
  }
  range.max = rows().length - 1;
  range.value = step;
  find("#count").textContent = `${step + 1} / ${rows().length}`;
  describe(rows()[step]);
  if (scrolls) rows()[step].scrollIntoView({ block: "nearest" });
}

function show(section, position = rowsOf(section).length - 1) {
  shown = section;
  for (const one of sections) {
    one.classList.toggle("shown", visible().includes(one));
    one.classList.toggle("first", one === section);
  }
  document.body.classList.toggle("two", visible().length > 1);
  for (const link of links) {
    if (link.hash === `#${section.id}`) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  go(position, false);
}

function stop() {
  clearInterval(timer);
  timer = 0;
  find("#play").removeAttribute("aria-pressed");
}

function play() {
  if (timer) return stop();
  if (step === rows().length - 1) go(0);
  find("#play").setAttribute("aria-pressed", "true");
  timer = setInterval(() => {
    if (step === rows().length - 1) stop();
    else go(step + 1);
  }, 700);
}

function choose(language) {
  find(`#${language}`).checked = true;
  document.documentElement.lang = language;
}

function fromHash() {
  const section = sections.find(one => `#${one.id}` === location.hash);
  if (section) {
    stop();
    show(section);
    section.scrollIntoView();
  }
}

const keys = {
  ArrowRight: () => go(step + 1), ArrowLeft: () => go(step - 1),
  Home: () => go(0), End: () => go(rows().length - 1), " ": play,
};
addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
  if (event.target.closest("input, select, textarea")) return;
  if (event.key === " " && event.target.closest("button, summary, a")) return;
  event.preventDefault();
  if (event.key !== " ") stop();
  keys[event.key]();
});
find("#back").addEventListener("click", () => { stop(); go(step - 1); });
find("#forward").addEventListener("click", () => { stop(); go(step + 1); });
find("#play").addEventListener("click", play);
range.addEventListener("input", () => { stop(); go(+range.value); });
other.addEventListener("change", () => show(shown, step));
for (const kind of ["mouseover", "focusin"]) {
  find("main").addEventListener(kind, event => {
    const row = event.target.closest(".grid li");
    if (row && !timer) describe(row);
  });
}
find("main").addEventListener("mouseleave", () => describe(rows()[step]));
for (const input of languages) input.addEventListener("change", () => choose(input.id));
addEventListener("hashchange", fromHash);
document.body.classList.add("played");
player.hidden = false;
choose(navigator.language.startsWith("zh") ? "zh" : "en");
show(shown);
fromHash();
