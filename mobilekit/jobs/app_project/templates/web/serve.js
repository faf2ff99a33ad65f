// A small server of this folder: npm start. PORT and HOST say where; a camera needs localhost or HTTPS.

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const ROOT = fileURLToPath(new URL(".", import.meta.url));
const TYPES = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".mjs": "text/javascript; charset=utf-8",
  ".png": "image/png",
  ".txt": "text/plain; charset=utf-8",
  ".wasm": "application/wasm",
};

// Serve the folder; `heard` is told what a page posts to /result.
export function serve(port, host, heard = () => {}) {
  const server = createServer(async (request, response) => {
    if (request.method === "POST" && request.url === "/result") {
      let text = "";
      for await (const part of request) text += part;
      response.writeHead(204).end();
      heard(JSON.parse(text));
      return;
    }
    const file = fileOf(request.url);
    const found = file && (await stat(file).catch(() => null));
    if (!found?.isFile()) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, {
      "Content-Type": TYPES[extname(file)] ?? "application/octet-stream",
      "Content-Length": found.size,
      "Cache-Control": "no-cache",
    });
    createReadStream(file).pipe(response);
  });
  return new Promise((resolve, reject) => {
    server.on("error", reject);
    server.listen(port, host, () => resolve(server));
  });
}

function fileOf(url) {
  try {
    const path = decodeURIComponent(new URL(url, "http://localhost").pathname);
    const file = normalize(join(ROOT, path.endsWith("/") ? `${path}index.html` : path));
    return file.startsWith(normalize(ROOT + sep)) ? file : null;
  } catch {
    return null; // no path at all
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { PORT = "8080", HOST = "localhost" } = process.env;
  await serve(Number(PORT), HOST);
  console.log(`http://${HOST}:${PORT}/`);
}
