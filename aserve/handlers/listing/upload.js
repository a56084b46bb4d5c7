// Sends files to this folder, a few at a time, and tells how far each is. Deletes and renames what
// is selected. The form of the page sends files without a script.
const form = document.getElementById("~upload");
const mayChange = form.dataset.mode === "all";
const MAX_RUNNING = 3;
const SPEED_WINDOW = 3000; // milliseconds over which a speed is measured

const make = (tag, properties, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const button = (text, action, properties) => {
  const made = make("button", { type: "button", ...properties }, text);
  made.addEventListener("click", action);
  return made;
};
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

function readableSize(size) {
  if (size < 1000) return `${Math.round(size)} B`;
  const units = ["kB", "MB", "GB", "TB", "PB"];
  let amount = size / 1000;
  while (amount >= 999.95 && units.length > 1) {
    amount /= 1000;
    units.shift();
  }
  return `${amount.toFixed(1)} ${units[0]}`;
}

// What a response says: its first file, or the detail of an error.
function read(request) {
  try {
    return JSON.parse(request.responseText);
  } catch {
    return {};
  }
}

// One attempt to send a file. Whatever sends it has progress, done and failed called, and abort.
class Transfer {
  constructor(file, url, { progress, done, failed }) {
    this.request = new XMLHttpRequest(); // fetch does not tell how much was sent
    this.request.open("POST", url);
    this.request.setRequestHeader("Accept", "application/json");
    this.request.setRequestHeader("Content-Type", "application/octet-stream");
    this.request.upload.addEventListener("progress", event => progress(event.loaded));
    this.request.addEventListener("load", () => {
      const { status } = this.request;
      const told = read(this.request);
      if (status < 300) done(told.files?.[0] ?? {});
      else failed(status, told.detail ?? `The server answered ${status}.`);
    });
    this.request.addEventListener("error", () => failed(0, "The connection was lost."));
    this.request.send(file);
  }

  abort() {
    this.request.abort();
  }
}

// A file, its row in the list, and what can be done with it.
class Upload {
  constructor(file, folder) {
    this.file = file;
    this.folder = folder;
    this.name = folder + file.name;
    this.bar = make("progress", { max: file.size || 1, value: 0 });
    this.bar.setAttribute("aria-label", `Progress of ${this.name}`);
    this.text = make("p");
    this.actions = make("div");
    this.row = make("li", {}, make("bdi", {}, this.name), this.bar, this.text, this.actions);
    this.wait();
  }

  wait() {
    this.show("waiting", "Waiting", ["Cancel", () => this.cancel()]);
    queue.waiting.push(this);
  }

  url() {
    const path = this.folder.split("/").map(encodeURIComponent).join("/");
    const query = new URLSearchParams({ name: this.file.name });
    if (path) query.set("mkdir", "1");
    if (this.conflict) query.set("on_conflict", this.conflict);
    return `${location.pathname}${path}?${query}`;
  }

  start() {
    this.samples = [[performance.now(), 0]];
    this.bar.value = 0;
    const isLarge = this.file.size >= RESUMABLE_SIZE;
    const actions = isLarge ? [["Pause", () => this.pause()]] : [];
    this.show("running", "Starting", ...actions, ["Cancel", () => this.cancel()]);
    this.transfer = new (isLarge ? ResumableTransfer : Transfer)(this.file, this.url(), {
      began: offset => this.goOn(offset),
      progress: sent => this.progressed(sent),
      done: file => this.finish(file),
      failed: (status, detail) => this.fail(status, detail),
    });
  }

  // A part is sent, from an offset on.
  goOn(offset) {
    this.samples = [[performance.now(), offset]];
    this.bar.value = offset;
    if (offset) this.text.textContent = `Going on at ${readableSize(offset)}`;
  }

  progressed(sent) {
    const now = performance.now();
    this.samples.push([now, sent]);
    while (this.samples.length > 2 && this.samples[0][0] < now - SPEED_WINDOW) this.samples.shift();
    const [then, before] = this.samples[0];
    const speed = (sent - before) / Math.max(now - then, 1) * 1000;
    this.bar.value = sent;
    this.text.textContent =
      `${readableSize(sent)} of ${readableSize(this.file.size)}, ${readableSize(speed)}/s`;
  }

  finish(file) {
    this.bar.value = this.bar.max;
    const stored = file.url ? decodeURIComponent(file.url.split("/").pop()) : this.file.name;
    this.show("done", stored === this.file.name ? "Uploaded" : `Uploaded as ${stored}`);
    queue.next();
  }

  fail(status, detail) {
    queue.list.prepend(this.row); // where it is seen
    const again = conflict => () => {
      this.conflict = conflict;
      this.wait();
      queue.next();
    };
    const actions = status === 409
      ? [["Keep both", again("rename")], ...(mayChange ? [["Replace", again("replace")]] : [])]
      : [["Retry", again(this.conflict)]];
    this.show("failed", detail, ...actions);
    queue.next();
  }

  pause() {
    this.transfer.pause();
    const resume = () => {
      this.wait();
      queue.next();
    };
    this.show("paused", "Paused", ["Resume", resume], ["Cancel", () => this.cancel()]);
    queue.next();
  }

  cancel() {
    this.transfer?.abort();
    this.show("cancelled", "Cancelled", ["Retry", () => {
      this.wait();
      queue.next();
    }]);
    queue.next();
  }

  // Show a state with its buttons. The focus stays in the row if it was there.
  show(state, text, ...actions) {
    const hadFocus = this.actions.contains(document.activeElement);
    if (this.state) queue.counts[this.state] -= 1;
    queue.counts[state] += 1;
    this.state = state;
    this.row.className = state;
    this.text.textContent = text;
    const label = what => ({ ariaLabel: `${what} ${this.name}` });
    this.actions.replaceChildren(...actions.map(([what, act]) => button(what, act, label(what))));
    if (hadFocus) (this.actions.querySelector("button") ?? choose).focus();
  }
}

// All uploads of this page, of which a few run at once.
const queue = {
  counts: { waiting: 0, running: 0, paused: 0, done: 0, failed: 0, cancelled: 0 },
  waiting: [], // and those that were cancelled meanwhile
  shown: 0, // of those that are done, by the table
  list: make("ul"),
  summary: make("p"),
  clear: button("Clear list", () => queue.forget()),

  add(files) {
    for (const [file, folder] of files) {
      const upload = new Upload(file, folder);
      this.list.append(upload.row);
    }
    this.next();
  },

  total() {
    return Object.values(this.counts).reduce((sum, count) => sum + count);
  },

  isBusy() {
    return this.counts.waiting + this.counts.running > 0;
  },

  next() {
    while (this.waiting.length && this.counts.running < MAX_RUNNING) {
      const upload = this.waiting.shift();
      if (upload.state === "waiting") upload.start();
    }
    this.tell();
    if (!this.isBusy() && this.counts.done > this.shown) {
      this.shown = this.counts.done;
      refresh();
    }
  },

  tell() {
    const { done, failed } = this.counts;
    const text = `${done} of ${plural(this.total(), "file")} uploaded`;
    this.summary.textContent = failed ? `${text}, ${failed} not` : text;
    this.clear.hidden = this.isBusy();
    section.hidden = !this.total();
  },

  forget() {
    for (const state of Object.keys(this.counts)) this.counts[state] = 0;
    this.shown = 0;
    this.list.replaceChildren();
    this.tell();
    choose.focus();
  },
};

queue.summary.setAttribute("role", "status");
const section = make(
  "section", { className: "uploads", hidden: true, ariaLabel: "Uploads" },
  make("div", {}, queue.summary, queue.clear), queue.list,
);
form.after(section);

// Show the folder as it is now.
let refreshes = 0;
async function refresh() {
  const mine = ++refreshes;
  const response = await fetch(location.href, { headers: { Accept: "text/html" } });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const fresh = page.getElementById("~files");
  if (!fresh || mine !== refreshes) return;
  document.getElementById("~files").replaceWith(fresh);
  document.dispatchEvent(new Event("listing"));
}

// Files by the dialogs of the browser.
function chooser(text, properties) {
  const input = make("input", { type: "file", multiple: true, hidden: true, ...properties });
  input.addEventListener("change", () => {
    queue.add([...input.files].map(file => {
      const names = file.webkitRelativePath.split("/").slice(0, -1);
      return [file, names.map(name => `${name}/`).join("")];
    }));
    input.value = "";
  });
  return [input, button(text, () => input.click())];
}

const [filesInput, choose] = chooser("Upload files", { id: "~choose" });
const [folderInput, chooseFolder] = chooser("Upload folder", { webkitdirectory: true });
form.addEventListener("submit", event => event.preventDefault());
form.replaceChildren(
  filesInput, choose, folderInput, chooseFolder, make("p", { className: "hint" }, "or drop files and folders here"),
);

// Files and folders that are dropped anywhere on the page.
async function* filesOf(entry, folder) {
  if (entry.isFile) {
    yield [await new Promise((resolve, reject) => entry.file(resolve, reject)), folder];
    return;
  }
  const reader = entry.createReader();
  const readSome = () => new Promise((resolve, reject) => reader.readEntries(resolve, reject));
  for (let some = await readSome(); some.length; some = await readSome()) {
    for (const child of some) yield* filesOf(child, `${folder}${entry.name}/`);
  }
}

const hasFiles = event => event.dataTransfer?.types.includes("Files");
const mark = isOver => document.documentElement.classList.toggle("dropping", isOver);

addEventListener("dragover", event => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = "copy";
  mark(true);
});
addEventListener("dragleave", event => {
  if (!event.relatedTarget) mark(false);
});
addEventListener("drop", async event => {
  mark(false);
  if (!hasFiles(event)) return;
  event.preventDefault();
  // The items are gone after the first await.
  const entries = [...event.dataTransfer.items].map(item => item.webkitGetAsEntry?.() ?? item.getAsFile());
  for (const entry of entries.filter(Boolean)) {
    if (entry instanceof File) queue.add([[entry, ""]]);
    else for await (const found of filesOf(entry, "")) queue.add([found]);
  }
});
addEventListener("live-reload", event => {
  if (!queue.total() && !document.querySelector("dialog")) return;
  event.preventDefault();
  if (!selected().length) refresh();
});
addEventListener("beforeunload", event => {
  if (queue.isBusy()) event.preventDefault();
});

// A question about what is selected. Its answer is awaited: null if it was closed without one.
function ask(title, text, { confirm, isDangerous, value }) {
  const input = value === undefined ? [] : [make("input", { type: "text", value, ariaLabel: "New name" })];
  const yes = make("button", { value: "yes", className: isDangerous ? "danger" : "" }, confirm);
  const no = make("button", { value: "", formNoValidate: true }, "Cancel");
  const dialog = make(
    "dialog", { ariaLabel: title },
    make("h2", {}, title), ...text.map(line => make("p", {}, make("bdi", {}, line))),
    make("form", { method: "dialog" }, ...input, no, yes),
  );
  document.body.append(dialog);
  dialog.showModal();
  const [first] = input;
  if (first) {
    const dot = value.lastIndexOf(".");
    first.focus();
    first.setSelectionRange(0, dot > 0 ? dot : value.length);
    first.addEventListener("keydown", event => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      dialog.close("yes");
    });
  } else {
    no.focus();
  }
  return new Promise(resolve => dialog.addEventListener("close", () => {
    dialog.remove();
    resolve(dialog.returnValue === "yes" ? first?.value ?? true : null);
  }));
}

const selected = () => [...document.querySelectorAll(".files input:checked")].map(box => ({
  name: box.value,
  link: box.closest("tr").querySelector("th a"),
}));

// Send one request for a name. Returns why it failed, "" if it did not.
async function change(method, url, headers) {
  try {
    const response = await fetch(url, { method, headers: { Accept: "application/json", ...headers } });
    if (response.ok) return "";
    const told = await response.json().catch(() => ({}));
    return told.detail ?? `The server answered ${response.status}.`;
  } catch {
    return "The connection was lost.";
  }
}

async function remove() {
  const chosen = selected();
  const title = chosen.length === 1 ? `Delete ${chosen[0].name}?` : `Delete ${chosen.length} items?`;
  const names = chosen.length === 1 ? [] : chosen.slice(0, 10).map(({ name }) => name);
  if (chosen.length > 10) names.push(`and ${chosen.length - 10} more`);
  const text = [...names, `${chosen.length === 1 ? "It" : "They"} cannot be brought back.`];
  if (!await ask(title, text, { confirm: "Delete", isDangerous: true })) return;
  const failed = [];
  for (const { name, link } of chosen) {
    const reason = await change("DELETE", link.href);
    if (reason) failed.push(`${name}: ${reason}`);
  }
  await report(failed, `${plural(chosen.length - failed.length, "item")} deleted`);
}

async function rename() {
  const [{ name, link }] = selected();
  const answer = await ask(`Rename ${name}`, [], { confirm: "Rename", value: name });
  if (!answer || answer === name) return;
  const slash = link.href.endsWith("/") ? "/" : "";
  const target = new URL(encodeURIComponent(answer) + slash, new URL("./", location.href));
  const reason = await change("MOVE", link.href, { Destination: target.href, Overwrite: "F" });
  await report(reason ? [reason] : [], `Renamed to ${answer}`);
}

async function report(failed, text) {
  await refresh();
  update();
  result.textContent = failed.length ? "" : text;
  if (failed.length) await ask("Not everything was done", failed.slice(0, 10), { confirm: "OK" });
}

const result = make("p");
result.setAttribute("role", "status");
const removeButton = button("Delete selected", remove);
const renameButton = button("Rename selected", rename);

function update() {
  const count = selected().length;
  removeButton.hidden = !count;
  renameButton.hidden = count !== 1;
}

if (mayChange) {
  form.append(renameButton, removeButton, result);
  document.addEventListener("change", update);
  addEventListener("pageshow", update);
  update();
}
