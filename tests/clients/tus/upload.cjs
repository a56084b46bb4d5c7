// Uploads a file by tus-js-client, and prints what became of it as JSON.
// node upload.cjs MODULE ENDPOINT FILE STATE OPTIONS, where STATE remembers uploads that were
// interrupted, and OPTIONS is JSON: those of the client, and stopAt, the byte at which to give up.

const fs = require("node:fs");
const [module_, endpoint, file, state, text] = process.argv.slice(2);
const tus = require(module_);
const { stopAt = Infinity, ...options } = JSON.parse(text);
const { FileUrlStorage } = tus;

const requests = [];
const report = (result) => {
  console.log(JSON.stringify({ ...result, requests }));
};

const upload = new tus.Upload(fs.createReadStream(file), {
  endpoint,
  metadata: { filename: "stored.bin", filetype: "application/octet-stream" },
  urlStorage: new FileUrlStorage(state),
  fingerprint: async () => "the file",
  uploadSize: fs.statSync(file).size,
  removeFingerprintOnSuccess: true,
  ...options,
  onAfterResponse: (request, response) => {
    requests.push([request.getMethod(), response.getStatus()]);
  },
  onChunkComplete: async (_size, offset) => {
    if (offset < stopAt || upload.stopped) return;
    upload.stopped = true;
    await upload.abort(options.terminates ?? false);
    report({ url: upload.url, offset });
  },
  onError: (error) => report({ error: error.message }),
  onSuccess: () => report({ url: upload.url, done: true }),
});

(async () => {
  const [previous] = await upload.findPreviousUploads();
  if (previous) upload.resumeFromPreviousUpload(previous);
  upload.start();
})();
