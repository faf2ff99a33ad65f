"""A page in headless Chromium that opens a file with a package from npm, runs it, and gives back what comes of it."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import numpy as np

from benchmarks.peers.worker import Bind

SECONDS = 120
"""Until a page is given up."""
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MODULES = Path(sys.prefix) / "node_modules"
_PAGE = """<!doctype html><script type="importmap">%(imports)s</script><script type="module">
const bytes = Uint8Array.from(atob("%(bytes)s"), (letter) => letter.charCodeAt(0));
const given = new %(array)s(bytes.buffer);
const shape = %(shape)s;
let answer;
try {
%(script)s
  const raw = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const text = Array.from(raw, (byte) => String.fromCharCode(byte)).join("");
  answer = { kind: values.constructor.name, bytes: btoa(text) };
} catch (error) {
  answer = { error: String(error?.message ?? error) };
}
await fetch("/answer", { method: "POST", body: JSON.stringify(answer) });
</script>"""
_ARRAYS = {"float32": "Float32Array", "int8": "Int8Array", "uint8": "Uint8Array"}
_DTYPES = {array: dtype for dtype, array in _ARRAYS.items()}


def open_by(script: str, imports: dict[str, str], file: str) -> Bind:
    """Return what runs a file in a page, a browser for each input.

    Args:
        script: JavaScript that opens `/model`, runs it on `given`, and makes `values`, a typed array.
        imports: Where the modules that it imports are, below node_modules, by their names.
        file: The file.
    """

    def bind(image: np.ndarray) -> Any:
        page = _PAGE % {
            "imports": json.dumps({"imports": {name: f"/node_modules/{path}" for name, path in imports.items()}}),
            "bytes": base64.b64encode(image.tobytes()).decode(),
            "array": _ARRAYS[str(image.dtype)],
            "shape": list(image.shape),
            "script": script,
        }
        return lambda: _answer(page, file)

    return bind


def _answer(page: str, file: str) -> np.ndarray:
    """Show a page, and return the numbers that it gives: (1, N)."""
    answers: Queue[dict[str, str]] = Queue()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(page, file, answers))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise SystemExit("there is no Chromium")
    profile = tempfile.mkdtemp(dir=".")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={profile}"]
    browser = subprocess.Popen(
        [program, *options, f"http://127.0.0.1:{server.server_port}/"], stderr=subprocess.DEVNULL
    )
    try:
        found = answers.get(timeout=SECONDS)
    except Empty:
        raise SystemExit(f"the page gives nothing in {SECONDS} s") from None
    finally:
        browser.terminate()
        browser.wait()
        server.shutdown()
    if "error" in found:
        raise SystemExit(found["error"])
    values = np.frombuffer(base64.b64decode(found["bytes"]), _DTYPES[found["kind"]])
    return values.reshape(1, -1)


def _handler(page: str, file: str, answers: Queue[dict[str, str]]) -> type[SimpleHTTPRequestHandler]:
    class Handler(SimpleHTTPRequestHandler):
        extensions_map = {  # noqa: RUF012
            **SimpleHTTPRequestHandler.extensions_map,
            ".mjs": "text/javascript",
            ".wasm": "application/wasm",
        }

        def translate_path(self, path: str) -> str:
            return file if path == "/model" else super().translate_path(path)

        def do_GET(self) -> None:
            if self.path != "/":
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page.encode())

        def do_POST(self) -> None:
            answers.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_words: object) -> None:
            pass

    return lambda *words: Handler(*words, directory=str(MODULES.parent))  # type: ignore[return-value]
