// What every driver shares: steps that are run one after another, and a report on the last line of stdout.
import assert from "node:assert/strict";

export const base = process.argv[2];
export const host = base.replace("http://", "");
export const checkpoint = "v1-5-pruned-emaonly-fp16.safetensors";

const steps = [];

/** Run `body`; a step that fails is reported and does not keep the next ones from running. */
export async function step(name, body) {
  try {
    await within(30, name, Promise.resolve(body()));
    steps.push({ name, error: null });
  } catch (error) {
    steps.push({ name, error: error?.stack ?? String(error) });
  }
}

export function within(seconds, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${seconds} s`)), seconds * 1000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Print the report and leave, whatever timers and sockets the client left behind. */
export function finish(facts = {}) {
  process.stdout.write(`\nREPORT ${JSON.stringify({ steps, ...facts })}\n`, () => process.exit(0));
}

export const isPng = (bytes) => Buffer.from(bytes).subarray(0, 4).toString("latin1") === "\x89PNG";
export const isJpeg = (bytes) => Buffer.from(bytes).subarray(0, 3).toString("hex") === "ffd8ff";

/** Width and height of a PNG. */
export function pngSize(bytes) {
  assert.ok(isPng(bytes), "not a PNG");
  const buffer = Buffer.from(bytes);
  return [buffer.readUInt32BE(16), buffer.readUInt32BE(20)];
}

/** The default text-to-image graph, small. Other seeds keep the server's cache from answering. */
export function textToImage({ seed, steps: count = 4, size = 64, batch = 1, prefix = "interop" }) {
  return {
    3: {
      class_type: "KSampler",
      inputs: {
        cfg: 8, denoise: 1, sampler_name: "euler", scheduler: "normal", seed, steps: count,
        latent_image: ["5", 0], model: ["4", 0], negative: ["7", 0], positive: ["6", 0],
      },
    },
    4: { class_type: "CheckpointLoaderSimple", inputs: { ckpt_name: checkpoint } },
    5: { class_type: "EmptyLatentImage", inputs: { batch_size: batch, height: size, width: size } },
    6: { class_type: "CLIPTextEncode", inputs: { clip: ["4", 1], text: "a lighthouse" } },
    7: { class_type: "CLIPTextEncode", inputs: { clip: ["4", 1], text: "bad hands" } },
    8: { class_type: "VAEDecode", inputs: { samples: ["3", 0], vae: ["4", 2] } },
    9: { class_type: "SaveImage", inputs: { filename_prefix: prefix, images: ["8", 0] } },
  };
}

/** Image to image, from an uploaded picture. */
export function imageToImage({ image, ...options }) {
  const graph = textToImage(options);
  graph[5] = { class_type: "VAEEncode", inputs: { pixels: ["10", 0], vae: ["4", 2] } };
  graph[10] = { class_type: "LoadImage", inputs: { image } };
  return graph;
}

/** A graph that is accepted and fails in its last node: it saves outside of the output folder. */
export const failing = (seed) => textToImage({ seed, prefix: "../../outside" });
