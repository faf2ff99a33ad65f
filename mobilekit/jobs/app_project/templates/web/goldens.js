// The golden test: each file gives what it gave where the project was made, and a picture becomes what the model sees.

import { FILES, SCALES_EXACTLY } from "./facts.js";
import { decode, fetchWhole, formatOf, openModel, readNpy, RUNTIMES, tensorOf } from "./model.js";
import { channelsOf, readPicture, seenOf } from "./picture.js";

const FOLDER = "goldens/";

export const readGoldens = async () => (await fetchWhole(`${FOLDER}goldens.json`)).json();

export const readGoldenPicture = async (path) => readPicture(await (await fetchWhole(FOLDER + path)).blob());

// Return rows of the golden test, and how far all is off that comes of the pictures.
export async function replay(tell) {
  const goldens = await readGoldens();
  const rows = [];
  const drifts = [];
  for (const spec of FILES) {
    tell(`${spec.file} …`);
    const model = await openModel(spec);
    for (const one of goldens.cases) {
      const expected = {};
      for (const output of spec.outputs) {
        expected[output.name] = decode(await readNpy(FOLDER + one.expected[spec.file][output.name]), output);
      }
      const made = await model.run(await readNpy(FOLDER + one.inputs[spec.file][spec.input.name]));
      rows.push(...judged(goldens, spec, one, made, expected));
      if (one.picture && one.scaled) {
        const { drift, outputs } = await fromPicture(model, one, expected);
        drifts.push(drift);
        const named = { ...one, name: `${one.name}, from its picture` };
        if (SCALES_EXACTLY) rows.push(judgedPixels(spec, named, drift.largest));
        if (drift.largest === 0) rows.push(...judged(goldens, spec, named, outputs, expected));
      }
    }
  }
  return { rows, drifts, passed: rows.length > 0 && rows.every((row) => row.passed) };
}

function judged(goldens, spec, one, made, expected) {
  const { tolerances } = goldens.files.find((each) => each.file === spec.file);
  return spec.outputs.map(({ name }) => {
    const { metric, limit } = tolerances.cpu[name];
    const value = METRICS[metric](made[name], expected[name]);
    return {
      file: spec.file,
      runtime: RUNTIMES[formatOf(spec.file)],
      case: one.name,
      output: name,
      largest: METRICS.max_abs(made[name], expected[name]),
      metric,
      value,
      limit,
      passed: metric === "equal_labels" ? value >= limit : value <= limit,
    };
  });
}

// Of 255, that another rounding of the first pass makes at most of the second.
const LEVELS = 2;

function judgedPixels(spec, one, largest) {
  return {
    file: spec.file,
    runtime: "picture.js",
    case: one.name,
    output: "pixels",
    largest,
    metric: "levels of 255",
    value: largest,
    limit: LEVELS,
    passed: largest <= LEVELS,
  };
}

// Return how far the pixels of the picture and what comes of them are off from what came by the recipe.
async function fromPicture({ spec, run }, one, expected) {
  const picture = await readGoldenPicture(one.picture);
  const scaled = await readGoldenPicture(one.scaled);
  const seen = channelsOf(seenOf(picture, picture.width, picture.height));
  const canvas = new OffscreenCanvas(scaled.width, scaled.height).getContext("2d");
  canvas.drawImage(scaled, 0, 0);
  const meant = channelsOf(canvas.getImageData(0, 0, scaled.width, scaled.height));
  const [{ name }] = spec.outputs;
  const outputs = await run(tensorOf(seen, spec));
  const made = outputs[name];
  let sum = 0;
  for (let i = 0; i < seen.length; i++) sum += Math.abs(seen[i] - meant[i]);
  const drift = {
    file: spec.file,
    case: one.name,
    levels: sum / seen.length,
    largest: METRICS.max_abs(seen, meant),
    drift: METRICS.relative_l2(made, expected[name]),
    same: largestOf(made) === largestOf(expected[name]),
  };
  return { drift, outputs };
}

const largestOf = (values) => values.indexOf(values.reduce((a, b) => Math.max(a, b), -Infinity));

const METRICS = {
  max_abs: (made, expected) => made.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i])), 0),
  relative_l2: (made, expected) => norm(made.map((value, i) => value - expected[i])) / norm(expected),
  equal_labels: (made, expected) => made.filter((value, i) => value === expected[i]).length / made.length,
};

const norm = (values) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
