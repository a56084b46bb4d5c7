// Sends a large file in parts, by tus 1.0.0: what has arrived stays at the server for a day, so it
// can be paused, and goes on after the connection was lost or the page was closed.
const RESUMABLE_SIZE = 8_000_000; // bytes, from which on another request or two do not matter
const RETRY_DELAYS = [0, 1000, 3000, 10_000]; // milliseconds, between attempts that get nowhere

const base64 = text => btoa(String.fromCharCode(...new TextEncoder().encode(text)));
const pause = delay => new Promise(resolve => setTimeout(resolve, delay));

// Where uploads are that have begun, also after the page was closed. Browsers can forbid that.
const memory = {
  get(key) {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  },
  set(key, value) {
    try {
      if (value) localStorage.setItem(key, value);
      else localStorage.removeItem(key);
    } catch {
      return; // it goes on as long as the page is open
    }
  },
};

class ResumableTransfer {
  constructor(file, url, callbacks) {
    Object.assign(this, { file, url }, callbacks);
    this.key = `upload ${JSON.stringify([url, file.size, file.lastModified])}`;
    this.upload = memory.get(this.key);
    this.offset = this.failures = 0;
    this.run();
  }

  async run() {
    while (!this.isStopped) {
      try {
        return this.end(await this.attempt());
      } catch (error) {
        if (error !== LOST) throw error;
      }
      if (this.failures === RETRY_DELAYS.length) return this.failed(0, "The connection was lost.");
      await pause(RETRY_DELAYS[this.failures++]);
    }
  }

  // Send what the server does not have. Returns the last response, or throws LOST.
  async attempt() {
    const state = this.upload && await this.ask("HEAD", this.upload);
    if (state?.status === 409) return state;
    if (state?.status === 200) {
      const offset = Number(state.getResponseHeader("Upload-Offset"));
      if (offset > this.offset) this.failures = 0;
      this.offset = offset;
      if (offset === this.file.size) return state;
    } else {
      const created = await this.create();
      if (created.status !== 201) return created;
      this.remember(created.getResponseHeader("Location"));
      this.offset = 0;
    }
    this.began(this.offset);
    const headers = { "Upload-Offset": this.offset, "Content-Type": "application/offset+octet-stream" };
    return this.ask("PATCH", this.upload, headers, this.file.slice(this.offset));
  }

  create() {
    const metadata = `filename ${base64(this.file.name)}`;
    return this.ask("POST", this.url, { "Upload-Length": this.file.size, "Upload-Metadata": metadata });
  }

  remember(upload) {
    this.upload = upload;
    memory.set(this.key, upload);
  }

  ask(method, url, headers = {}, body = null) {
    return new Promise((resolve, reject) => {
      const request = this.request = new XMLHttpRequest();
      request.open(method, url);
      const all = { "Tus-Resumable": "1.0.0", Accept: "application/json", ...headers };
      for (const [name, value] of Object.entries(all)) request.setRequestHeader(name, value);
      if (body) request.upload.addEventListener("progress", event => this.progress(this.offset + event.loaded));
      request.addEventListener("load", () => {
        const isOtherOffset = request.status === 409 && request.getResponseHeader("Upload-Offset");
        if (isOtherOffset || [423, 503].includes(request.status)) reject(LOST);
        else resolve(request);
      });
      request.addEventListener("error", () => reject(LOST));
      request.send(body);
    });
  }

  end(response) {
    const { status } = response;
    if (status < 300) {
      this.remember(null);
      this.done({ url: response.getResponseHeader("Content-Location") });
      return;
    }
    const detail = status === 409 ? "This name is already taken." : `The server answered ${status}.`;
    if (status === 409) this.discard(); // what is asked now begins anew
    this.failed(status, read(response).detail ?? detail);
  }

  pause() {
    this.isStopped = true;
    this.request.abort();
  }

  abort() {
    this.pause();
    this.discard();
  }

  discard() {
    const { upload } = this;
    this.remember(null);
    if (upload) fetch(upload, { method: "DELETE", headers: { "Tus-Resumable": "1.0.0" } }).catch(() => {});
  }
}

const LOST = Symbol("the connection was lost, or the server is busy");
