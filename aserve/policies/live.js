// aserve --live: swaps style sheets and images in place, and reloads the page for anything else.
// This file is two programs: the first script of each page, and the shared worker that has the one
// connection of a browser. Each update has an id, "server-number"; a page begins with that of its
// own tag, so that it gets each later update once.
"use strict";

(() => {
  const serverOf = (id) => id.split("-")[0];
  const numberOf = (id) => Number(id.split("-")[1]);

  // The one connection: tells each page of the updates that it has not seen.
  function createHub(url) {
    const pages = new Map(); // its port: the id of the last update that it has seen
    let updates = []; // {id, paths}, without a gap, the oldest first
    let current = ""; // the id of the last update; "" until the server has greeted
    let source = null;
    let pause = 2000; // milliseconds until another try, where the server refuses

    function connect(since) {
      source?.close();
      current = "";
      source = new EventSource(`${url}?since=${encodeURIComponent(since)}`);
      source.addEventListener("update", (event) => {
        add({ id: event.lastEventId, paths: JSON.parse(event.data) });
        if (current) greet(event.lastEventId);
      });
      source.addEventListener("hello", (event) => greet(event.lastEventId));
      source.addEventListener("error", () => {
        if (source.readyState !== EventSource.CLOSED) return; // it tries again by itself
        for (const port of pages.keys()) port.postMessage({ isRefused: true });
        setTimeout(() => pages.size && connect(since), pause);
        pause = Math.min(2 * pause, 60000);
      });
    }

    function add(update) {
      const last = updates.at(-1)?.id ?? "-";
      const isNext = serverOf(last) === serverOf(update.id) && numberOf(last) + 1 === numberOf(update.id);
      updates = isNext ? [...updates.slice(-1000), update] : [update];
    }

    function greet(id) {
      if (updates.length && updates.at(-1).id !== id) updates = [];
      current = id;
      pause = 2000;
      for (const [port, seen] of pages) bringUpToDate(port, seen);
    }

    function bringUpToDate(port, seen) {
      pages.set(port, current);
      if (serverOf(seen) !== serverOf(current)) {
        port.postMessage({ id: current, paths: null });
      } else if (numberOf(seen) > numberOf(current)) {
        pages.set(port, seen); // its update is on the way
      } else if (numberOf(seen) < numberOf(current)) {
        const missed = updates.filter(({ id }) => numberOf(id) > numberOf(seen));
        const isComplete = missed.length === numberOf(current) - numberOf(seen);
        port.postMessage({ id: current, paths: isComplete ? merge(missed) : null });
      }
    }

    function merge(missed) {
      return missed.some(({ paths }) => !paths) ? null : [...new Set(missed.flatMap(({ paths }) => paths))];
    }

    function remove(port) {
      pages.delete(port);
      if (pages.size) return;
      source?.close();
      source = null;
    }

    return (port) => {
      port.onmessage = ({ data: seen }) => {
        if (seen === null) return remove(port);
        pages.set(port, seen);
        if (!source || (current && serverOf(seen) !== serverOf(current))) connect(seen);
        else if (current) bringUpToDate(port, seen);
      };
    };
  }

  if (typeof document === "undefined") {
    const accept = createHub(new URL("/.aserve/live", location.href).href);
    self.onconnect = ({ ports: [port] }) => accept(port);
    return;
  }

  const mark = Symbol.for("aserve.live");
  if (window[mark]) return; // the tag is there twice: a script has put a page into this one
  window[mark] = true;
  performance.setResourceTimingBufferSize(10000); // so that all that is loaded is known
  const script = document.currentScript;
  const hubUrl = new URL("/.aserve/live", script.src).href;
  const servedAs = script.dataset.since;
  const isFile = script.dataset.made === undefined; // and no folder's page or error
  script.remove(); // the page's own scripts and selectors find the document as it was written

  // Connecting.

  let seen = firstId(); // the last update that this page has
  let wasRefused = false;
  let port = null;

  function connect() {
    if (typeof SharedWorker === "undefined") return usePort(localPort());
    try {
      const worker = new SharedWorker(script.src);
      worker.addEventListener("error", () => usePort(localPort())); // the page's policy forbids it
      usePort(worker.port);
    } catch {
      usePort(localPort());
    }
  }

  function localPort() {
    const { port1, port2 } = new MessageChannel();
    createHub(hubUrl)(port2);
    return port1;
  }

  function usePort(its) {
    port = its;
    port.onmessage = ({ data: { id, paths, isRefused } }) => {
      if (isRefused) return warnOnce();
      seen = id;
      apply(paths);
    };
    port.postMessage(seen);
  }

  function warnOnce() {
    if (!wasRefused) console.warn("aserve --live: the server does not tell this page of changes.");
    wasRefused = true;
  }

  // A page that is the same after a reload does not come from the server, but from a service
  // worker, for example. What it was reloaded for counts as seen, or it would be reloaded for ever.
  function firstId() {
    const [wasServedAs, reached] = remember(null)?.split(" ") ?? [];
    return wasServedAs === servedAs ? reached : servedAs;
  }

  function remember(text) {
    const key = `aserve-live:${location.pathname}${location.search}`; // frames share a storage
    try {
      const known = sessionStorage.getItem(key);
      if (text === null) sessionStorage.removeItem(key);
      else sessionStorage.setItem(key, text);
      return known;
    } catch {
      return null; // a page in a sandbox has no storage
    }
  }

  // A page that is busy, as with an upload, prevents the event and shows itself what has changed.
  function reload() {
    if (!dispatchEvent(new Event("live-reload", { cancelable: true }))) return;
    remember(`${servedAs} ${seen}`);
    location.reload();
  }

  // What a page shows, and how to show it anew.

  const origin = location.origin;

  function pathOf(url, base = document.baseURI) {
    try {
      const { origin: its, pathname } = new URL(url, base);
      return its === origin ? decoded(pathname) : null;
    } catch {
      return null;
    }
  }

  function decoded(path) {
    try {
      return decodeURIComponent(path);
    } catch {
      return path; // not UTF-8
    }
  }

  function renewed(url, base = document.baseURI) {
    const renewedUrl = new URL(url, base);
    renewedUrl.searchParams.set("aserve-live", Date.now().toString(36));
    return renewedUrl.href;
  }

  function* roots(root = document) {
    yield root;
    for (const element of root.querySelectorAll("*")) {
      if (element.shadowRoot) yield* roots(element.shadowRoot);
    }
  }

  const find = (selector) => [...roots()].flatMap((root) => [...root.querySelectorAll(selector)]);

  function rulesOf(sheet) {
    try {
      return [...(sheet?.cssRules ?? [])];
    } catch {
      return []; // of another origin
    }
  }

  function* nestedRules(sheet) {
    for (const rule of rulesOf(sheet)) {
      yield [rule, sheet];
      if (rule.styleSheet) yield* nestedRules(rule.styleSheet);
      else if (rule.cssRules) {
        for (const [inner] of nestedRules(rule)) yield [inner, sheet];
      }
    }
  }

  const baseOf = (sheet) => sheet.href ?? document.baseURI;

  const replaced = new WeakSet(); // style sheets whose successors are being loaded

  function sheetSwaps(path) {
    const swaps = [];
    for (const element of find("link[rel~=stylesheet i][href], style")) {
      if (replaced.has(element)) continue;
      const imported = [...nestedRules(element.sheet)].filter(
        ([rule, sheet]) => rule instanceof CSSImportRule && pathOf(rule.href, baseOf(sheet)) === path,
      );
      if (element.href && pathOf(element.href) === path) swaps.push(() => replaceSheet(element));
      else if (imported.length) {
        const urls = imported.map(([rule, sheet]) => new URL(rule.href, baseOf(sheet)).href);
        swaps.push(async () => {
          await Promise.all(urls.map((url) => fetch(url, { cache: "reload" })));
          replaceSheet(element);
        });
      }
    }
    return swaps;
  }

  // The old one stays until the new one is there: the page is never without its style.
  function replaceSheet(element) {
    if (element.integrity) return reload(); // which the new one cannot have
    if (element.disabled) return (element.href = renewed(element.href)); // it loads nothing now
    const next = element.cloneNode(true);
    replaced.add(element);
    next.addEventListener("load", () => element.remove());
    next.addEventListener("error", reload);
    if (next.href) next.href = renewed(next.href);
    element.after(next);
  }

  const URL_ATTRIBUTES = { src: "img, input", poster: "video", href: "link[rel~=icon], image" };
  const SOURCE_SETS = { srcset: "img, source", imagesrcset: "link" };

  const CANDIDATE = /(\S*[^\s,])((?:\s+[^,]*)?(?:,|$))/g; // an image of a srcset

  function imageSwaps(path) {
    const swaps = [];
    const isIt = (url) => pathOf(url) === path;
    const set = (element, name, value) => {
      if (value !== element.getAttribute(name)) swaps.push(() => element.setAttribute(name, value));
    };
    for (const [name, selector] of Object.entries(URL_ATTRIBUTES)) {
      for (const element of find(selector)) {
        const url = element.getAttribute(name);
        if (url !== null && isIt(url)) set(element, name, renewed(url));
      }
    }
    for (const [name, selector] of Object.entries(SOURCE_SETS)) {
      for (const element of find(selector)) {
        const urls = element.getAttribute(name) ?? "";
        const next = urls.replace(CANDIDATE, (all, url, rest) => (isIt(url) ? renewed(url) + rest : all));
        set(element, name, next);
      }
    }
    for (const [style, base] of declarations()) swaps.push(...styleSwaps(style, base, path));
    return swaps;
  }

  function* declarations() {
    for (const element of find("[style]")) yield [element.style, document.baseURI];
    for (const element of find("link[rel~=stylesheet i], style")) {
      for (const [rule, sheet] of nestedRules(element.sheet)) {
        if (rule.style) yield [rule.style, baseOf(sheet)];
      }
    }
  }

  function styleSwaps(style, base, path) {
    const swaps = [];
    for (const name of style) {
      const value = style.getPropertyValue(name);
      if (!value.includes("url(")) continue;
      const next = value.replace(/url\(\s*(["']?)(.*?)\1\s*\)/g, (text, _, url) =>
        pathOf(url, base) === path ? `url("${renewed(url, base)}")` : text,
      );
      if (next !== value) {
        swaps.push(() => style.setProperty(name, next, style.getPropertyPriority(name)));
      }
    }
    return swaps;
  }

  // What to do about a path: null stands for a reload, nothing for a file that the page has not.
  function swapsFor(path) {
    const swaps = /\.css$/i.test(path) ? sheetSwaps(path)
      : /\.(a?png|avif|bmp|gif|ico|jpe?g|svg|webp)$/i.test(path) ? imageSwaps(path)
      : null;
    const isLoaded = performance.getEntriesByType("resource").some(({ name }) => pathOf(name) === path);
    return swaps && !swaps.length && isLoaded ? null : swaps;
  }

  async function apply(paths) {
    if (document.readyState === "loading") {
      await new Promise((done) => document.addEventListener("DOMContentLoaded", done));
    }
    const swaps = isFile && paths?.map((path) => swapsFor(decoded(path)));
    if (!swaps || swaps.includes(null)) reload();
    else for (const swap of swaps.flat()) swap();
  }

  connect();
  addEventListener("pagehide", () => port.postMessage(null));
  addEventListener("pageshow", ({ persisted }) => persisted && connect()); // it was only hidden
})();
