// The page is complete without this module. It only asks the server questions and shows the answers.

const meanings = fetch("statuses.json").then((reply) => reply.json());

/** "176444" -> "172 KiB"; number and unit stay on one line. */
function readable(bytes) {
  return bytes < 1024 ? `${bytes}\u00a0bytes` : `${Math.round(bytes / 1024)}\u00a0KiB`;
}

/** Write under a part what the server says about it. */
async function inspect(part) {
  const output = part.appendChild(document.createElement("output"));
  const { status, headers } = await fetch(part.querySelector("a").href, { method: "HEAD" });
  const length = headers.get("Content-Length");
  output.append([status, headers.get("Content-Type"), length && readable(length)].filter(Boolean).join(" · "));
  output.classList.toggle("bad", status !== 200);
}

/** The request that a button stands for. */
async function question({ target, method = "GET", range, again }) {
  const headers = {};
  if (range) headers.Range = range;
  if (again !== undefined) {
    const known = (await fetch(target, { method: "HEAD" })).headers;
    if (known.has("ETag")) headers["If-None-Match"] = known.get("ETag");
    else if (known.has("Last-Modified")) headers["If-Modified-Since"] = known.get("Last-Modified");
  }
  // "no-store": the answer must come from the server and not from the browser's cache.
  return new Request(target, { method, headers, cache: "no-store" });
}

/** Show one exchange as it looks on the wire. */
function show(request, reply, meaning) {
  const line = document.createElement("b");
  line.textContent = `${reply.status} ${reply.statusText}`;
  const fields = (headers) => [...headers].map(([name, value]) => `${name}: ${value}\n`).join("");
  document.querySelector("#reply").replaceChildren(
    `${request.method} ${new URL(request.url).pathname}\n${fields(request.headers)}\n`,
    line,
    `\n${fields(reply.headers)}\n${meaning ?? ""}`,
  );
}

async function ask(button) {
  const request = await question(button.dataset);
  const reply = await fetch(request);
  show(request, reply, (await meanings)[reply.status]);
  for (const other of document.querySelectorAll("#ask button")) {
    other.setAttribute("aria-pressed", other === button);
  }
}

document.querySelector("#origin").textContent = location.origin;
document.querySelector("#ask").hidden = false;
document.querySelector("#ask .buttons").addEventListener("click", ({ target }) => {
  if (target.matches("button")) ask(target);
});

await Promise.all([...document.querySelectorAll(".parts li")].map(inspect));
document.documentElement.dataset.ready = "yes"; // for tests, which wait until the page has settled
