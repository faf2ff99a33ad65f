// The model's files: TFLite in LiteRT.js, ONNX in ONNX Runtime Web, both on the processor, in one thread.

import { FILES, NORMALIZATION } from "./facts.js";

const ARRAYS = {
  float32: Float32Array,
  uint8: Uint8Array,
  int8: Int8Array,
  int32: Int32Array,
  int64: BigInt64Array,
  bool: Uint8Array,
};
const PACKAGES = "./node_modules/";

export const RUNTIMES = { tflite: "LiteRT.js", onnx: "ONNX Runtime Web" };
export const formatOf = (file) => file.split(".").at(-1);

let litert;

async function openTflite(url) {
  const core = await import("@litertjs/core");
  litert ??= core.loadLiteRt(`${PACKAGES}@litertjs/core/wasm/`);
  await litert;
  const model = await core.loadAndCompile(url, { accelerator: "wasm" });
  return async (name, array, shape) => {
    const given = new core.Tensor(array, shape);
    const made = await model.run({ [name]: given });
    given.delete();
    const outputs = {};
    for (const [key, tensor] of Object.entries(made)) {
      outputs[key] = (await tensor.data()).slice();
      tensor.delete();
    }
    return outputs;
  };
}

async function openOnnx(url) {
  const ort = await import("onnxruntime-web");
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(url, { executionProviders: ["wasm"] });
  return async (name, array, shape) => {
    const made = await session.run({ [name]: new ort.Tensor(array, shape) });
    return Object.fromEntries(Object.entries(made).map(([key, tensor]) => [key, tensor.data]));
  };
}

// Open one of FILES. `run` takes a tensor as the file takes it, and gives values by the outputs' names.
export async function openModel(spec) {
  const open = { tflite: openTflite, onnx: openOnnx }[formatOf(spec.file)];
  const runRaw = await open(`model/${spec.file}`);
  const run = async (array) => {
    const made = await runRaw(spec.input.name, array, spec.input.shape);
    return Object.fromEntries(spec.outputs.map((output) => [output.name, decode(made[output.name], output)]));
  };
  return { spec, run };
}

export const specOf = (file) => FILES.find((each) => each.file === file);

// Return bytes of channels, pixel by pixel, as a file takes them: its layout, its number format.
export function tensorOf(bytes, { input }) {
  const array = new ARRAYS[input.dtype](bytes.length);
  const channels = input.shape[input.layout === "NCHW" ? 1 : 3];
  const pixels = bytes.length / channels;
  const encode = encoder(input);
  for (let i = 0; i < bytes.length; i++) {
    const channel = i % channels;
    const place = input.layout === "NCHW" ? channel * pixels + (i - channel) / channels : i;
    array[place] = encode(normalized(bytes[i], channel));
  }
  return array;
}

function normalized(byte, channel) {
  if (!NORMALIZATION) return byte;
  return (byte / 255 - NORMALIZATION.mean[channel]) / NORMALIZATION.std[channel];
}

function encoder({ dtype, scale, zero_point: zero }) {
  if (scale == null) return (value) => value;
  const [lowest, highest] = dtype === "int8" ? [-128, 127] : [0, 255];
  return (value) => Math.min(highest, Math.max(lowest, Math.round(value / scale) + zero));
}

// Return the values that a tensor's numbers stand for.
export function decode(array, { scale, zero_point: zero }) {
  if (scale == null) return Float64Array.from(array, Number);
  return Float64Array.from(array, (number) => (number - zero) * scale);
}

// Read an .npy file: a header of text, and the numbers.
export async function readNpy(url) {
  const buffer = await (await fetchWhole(url)).arrayBuffer();
  const size = new DataView(buffer).getUint16(8, true);
  const header = new TextDecoder("latin1").decode(buffer.slice(10, 10 + size));
  const code = /'descr': '[<|](\w\d)'/.exec(header)?.[1];
  const kind = { f4: "float32", u1: "uint8", i1: "int8", i4: "int32", i8: "int64", b1: "bool" }[code];
  if (!kind || header.includes("'fortran_order': True")) throw new Error(`${url} holds other numbers: ${header}`);
  return new ARRAYS[kind](buffer.slice(10 + size));
}

export async function fetchWhole(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${answer.statusText}`);
  return answer;
}
