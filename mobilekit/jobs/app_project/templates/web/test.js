// The golden test in a browser: npm test. Chromium or Chrome is looked for, or CHROME names it; without one, the page is
// to be opened by hand. Exit code 1 where a file is off, 2 where nothing came.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { serve } from "./serve.js";

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const SECONDS = 300;

const figure = (number) => (number == null ? "none" : number.toExponential(2));

function findBrowser() {
  if (process.env.CHROME) return process.env.CHROME;
  const folders = (process.env.PATH ?? "").split(delimiter);
  return folders.flatMap((folder) => NAMES.map((name) => join(folder, name))).find((path) => existsSync(path));
}

function openBrowser(program, url, profile) {
  const options = ["--headless=new", "--disable-gpu", "--no-first-run", `--user-data-dir=${profile}`];
  if (process.getuid?.() === 0) options.push("--no-sandbox"); // which root has to say
  return spawn(program, [...options, url], { stdio: "ignore" });
}

function show({ rows, drifts, error, browser }) {
  console.log(browser);
  if (error) console.log(error);
  for (const row of rows ?? []) {
    const held = `${row.metric} ${figure(row.value)}, limit ${figure(row.limit)}`;
    console.log(`${row.passed ? "pass" : "FAIL"} ${row.case} ${row.file} ${row.output} (${row.runtime}): ${held}`);
  }
  console.log("\nFrom the picture:");
  for (const row of drifts ?? []) {
    const pixels = `${row.levels.toFixed(2)} levels of 255 off (largest ${row.largest})`;
    console.log(`     ${row.case} ${row.file}: pixels ${pixels}, outputs ${figure(row.drift)} (relative L2)`);
  }
}

const profile = mkdtempSync(join(tmpdir(), "golden-test-"));
let child;
const result = new Promise((resolve, reject) => {
  serve(0, "127.0.0.1", resolve).then((server) => {
    const url = `http://127.0.0.1:${server.address().port}/?test`;
    const program = findBrowser();
    if (!program) {
      console.log(`No Chromium was found: open ${url} in a browser.`);
      return;
    }
    child = openBrowser(program, url, profile);
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`${program} ended with ${code} before the test did`)));
  }, reject);
  setTimeout(() => reject(new Error(`nothing came in ${SECONDS} seconds`)), SECONDS * 1000).unref();
});

let code = 2;
try {
  const found = await result;
  show(found);
  code = found.passed ? 0 : 1;
} catch (error) {
  console.error(`error: ${error.message}`);
}
child?.removeAllListeners("exit");
child?.kill();
await new Promise((resolve) => setTimeout(resolve, 300)); // the browser lets go of its folder
rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
process.exit(code);
