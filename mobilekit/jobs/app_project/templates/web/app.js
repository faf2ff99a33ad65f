// The page: a picture or the camera in, what the model says and how long it took out; and the golden test.

import { FILES, HAS_LABELS, HAS_SCORES } from "./facts.js";
import { readGoldenPicture, readGoldens, replay } from "./goldens.js";
import { fetchWhole, formatOf, openModel, RUNTIMES, specOf, tensorOf } from "./model.js";
import { channelsOf, keptPart, readPicture, seenOf } from "./picture.js";

const BEST = 5;
const TIMED_RUNS = 10;

const at = (id) => document.getElementById(id);
const labels = HAS_LABELS ? fetchWhole("labels.txt").then(async (text) => (await text.text()).split("\n")) : null;

let model;
let picture; // the last one, for another file of the model
let stream;

function tell(text, isBad = false) {
  at("status").textContent = text;
  at("status").classList.toggle("bad", isBad);
}

// Do something, and show what goes wrong.
async function attempt(work) {
  try {
    await work();
  } catch (error) {
    console.error(error);
    tell(error.message ?? String(error), true);
  }
}

function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

function figure(number) {
  if (!Number.isFinite(number)) return "none";
  return number !== 0 && Math.abs(number) < 1e-3 ? number.toExponential(2) : Number(number.toPrecision(3)).toString();
}

const milliseconds = (time) => `${time.toFixed(time < 10 ? 2 : 0)} ms`;
const median = (times) => times.sort((a, b) => a - b)[times.length >> 1];

async function choose(file) {
  tell(`Opening ${file} …`);
  model = await openModel(specOf(file));
  at("runtime").textContent = `${RUNTIMES[formatOf(file)]}, 1 thread`;
  tell("");
  if (picture && !stream) await look(picture, picture.width, picture.height, TIMED_RUNS);
}

// Show what the model sees and says of a picture or a camera's frame, and how long both take.
async function look(source, width, height, runs) {
  const times = { picture: [], model: [] };
  let seen;
  let outputs;
  for (let run = 0; run < runs; run++) {
    const start = performance.now();
    seen = seenOf(source, width, height);
    const tensor = tensorOf(channelsOf(seen), model.spec);
    const between = performance.now();
    outputs = await model.run(tensor);
    times.picture.push(between - start);
    times.model.push(performance.now() - between);
  }
  const of = runs > 1 ? ` (median of ${runs})` : "";
  for (const [what, each] of Object.entries(times)) at(`${what}-ms`).textContent = milliseconds(median(each)) + of;
  drawWhole(source, width, height);
  at("seen").getContext("2d").putImageData(seen, 0, 0);
  await say(outputs);
}

function drawWhole(source, width, height) {
  const canvas = at("whole");
  const scale = Math.min(1, 480 / width);
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  const [left, top, right, bottom] = keptPart(width, height).map((place) => place * scale);
  const outside = new Path2D();
  outside.rect(0, 0, canvas.width, canvas.height);
  outside.rect(left, top, right - left, bottom - top);
  context.fillStyle = "rgb(0 0 0 / 55%)";
  context.fill(outside, "evenodd");
}

async function say(outputs) {
  const names = await labels;
  at("said").replaceChildren(...(HAS_SCORES ? best(Object.values(outputs)[0], names) : ranges(outputs)));
}

function best(scores, names) {
  const order = [...scores.keys()].sort((a, b) => scores[b] - scores[a]);
  const lowest = scores[order.at(-1)];
  const span = scores[order[0]] - lowest || 1;
  return order.slice(0, BEST).map((number) => {
    const item = line(names?.[number] ?? `class ${number}`, scores[number].toFixed(3));
    item.style.setProperty("--share", `${(100 * (scores[number] - lowest)) / span}%`);
    return item;
  });
}

function ranges(outputs) {
  return model.spec.outputs.map(({ name, shape }) => {
    const values = outputs[name];
    const [low, high] = [Math.min, Math.max].map((pick) => values.reduce((a, b) => pick(a, b)));
    return line(`${name} ${shape.join("×")}`, `${figure(low)} to ${figure(high)}`);
  });
}

function line(name, value) {
  const item = document.createElement("li");
  item.append(element("span", name, "name"), element("span", value, "score"));
  return item;
}

async function startCamera() {
  if (!navigator.mediaDevices) throw new Error("A camera needs HTTPS, or localhost.");
  stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  const video = at("video");
  video.srcObject = stream;
  await video.play();
  at("camera").textContent = "Stop camera";
  at("camera").setAttribute("aria-pressed", "true");
  at("said").setAttribute("aria-live", "off"); // it changes too often to be read aloud
  const own = stream;
  try {
    while (stream === own) {
      if (video.videoWidth) await look(video, video.videoWidth, video.videoHeight, 1);
      await new Promise(requestAnimationFrame);
    }
  } finally {
    if (stream === own) stopCamera();
  }
}

function stopCamera() {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  at("camera").textContent = "Start camera";
  at("camera").setAttribute("aria-pressed", "false");
  at("said").setAttribute("aria-live", "polite");
}

async function open(blob, name) {
  stopCamera();
  picture = await readPicture(blob).catch(() => {
    throw new Error(`${name} is no picture that this browser reads.`);
  });
  tell("");
  await look(picture, picture.width, picture.height, TIMED_RUNS);
}

async function test() {
  at("test").disabled = true;
  at("verdict").className = "";
  try {
    const found = await replay((text) => (at("verdict").textContent = text));
    showTest(found);
    return found;
  } finally {
    at("test").disabled = false;
  }
}

function showTest({ rows, drifts, passed }) {
  const failed = rows.filter((row) => !row.passed).length;
  at("verdict").textContent = passed ? `Passed: ${rows.length} of ${rows.length}.` : `Failed: ${failed} of ${rows.length}.`;
  at("verdict").className = passed ? "good" : "bad";
  at("rows").replaceChildren(...rows.map(goldenRow));
  at("drifts").replaceChildren(...drifts.map(driftRow));
  at("tables").hidden = false;
}

function goldenRow(row) {
  return tableRow([
    element("td", row.passed ? "pass" : "fail", row.passed ? "good" : "bad"),
    element("td", `${row.file} (${row.runtime})`),
    element("td", `${row.case}, ${row.output}`),
    element("td", figure(row.largest), "number"),
    element("td", `${row.metric.replaceAll("_", " ")} ${figure(row.value)}, limit ${figure(row.limit)}`),
  ]);
}

function driftRow(row) {
  const cells = [
    element("td", row.file),
    element("td", row.case),
    element("td", `${row.levels.toFixed(2)}, largest ${row.largest}`, "number"),
    element("td", figure(row.drift), "number"),
  ];
  if (HAS_SCORES) cells.push(element("td", row.same ? "the same" : "another"));
  return tableRow(cells);
}

function tableRow(cells) {
  const row = document.createElement("tr");
  row.append(...cells);
  return row;
}

// With ?test, run the golden test and post what came to the server that asked for it.
async function report() {
  const result = await test().catch((error) => ({ error: String(error), passed: false }));
  await fetch("/result", { method: "POST", body: JSON.stringify({ ...result, browser: navigator.userAgent }) });
}

at("model").append(
  ...FILES.map(({ file }) => new Option(`${file} (${RUNTIMES[formatOf(file)]})`, file)),
);
at("model").addEventListener("change", (event) => attempt(() => choose(event.target.value)));
at("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) attempt(() => open(file, file.name));
});
at("camera").addEventListener("click", () => (stream ? stopCamera() : attempt(startCamera)));
at("test").addEventListener("click", () => attempt(test));

if (new URLSearchParams(location.search).has("test")) await report();
await attempt(async () => {
  const { cases } = await readGoldens();
  const first = cases.find((each) => each.picture);
  if (first) picture = await readGoldenPicture(first.picture); // so that the page shows something
  await choose(FILES[0].file);
});
