import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";

import { ComfyUI, ExecutionFailed, PromptGone, PromptRejected } from "./comfyui.mjs";

const TEXT_TO_IMAGE = JSON.parse(await readFile(new URL("workflow.json", import.meta.url), "utf8"));
const [SAMPLER, SAVED] = ["3", "9"];

/** Start a fake ComfyUI. The first line that it prints is its URL, and comes when it is ready. */
async function serve(...switches) {
  const server = spawn("comfy-mock", ["serve", "--port", "0", ...switches], { stdio: ["ignore", "pipe", "inherit"] });
  await once(server, "spawn");
  for await (const url of createInterface({ input: server.stdout })) {
    return { url, stop: () => Promise.all([once(server, "exit"), server.kill()]) };
  }
  throw new Error("comfy-mock did not start; its words are above");
}

/** A graph of its own for each call: ComfyUI answers one that it has run before from its cache. */
function textToImage(changes = {}) {
  const graph = structuredClone(TEXT_TO_IMAGE);
  graph[SAMPLER].inputs.seed = Math.floor(Math.random() * 2 ** 48);
  for (const [node, inputs] of Object.entries(changes)) Object.assign(graph[node].inputs, inputs);
  return graph;
}

let server;
before(async () => {
  const url = process.env.COMFYUI_URL; // one that runs already, such as in a CI job
  const switches = ["--quiet", "--speed", "50", "--preview-method", "latent2rgb"];
  server = url ? { url, stop: () => {} } : await serve(...switches);
});
after(() => server?.stop());

const WAYS = { "with a WebSocket": globalThis.WebSocket, "without a WebSocket": null };
for (const [way, WebSocket] of Object.entries(WAYS)) {
  describe(way, { skip: WebSocket === undefined && "this Node.js has no WebSocket; version 22 has" }, () => {
    let comfyui;
    before(() => {
      comfyui = new ComfyUI(server.url, { WebSocket });
    });

    test("a graph becomes a picture", async () => {
      const outputs = await comfyui.run(textToImage());
      const picture = await comfyui.file(outputs[SAVED].images[0]);
      assert.equal(Buffer.from(picture).toString("latin1", 1, 4), "PNG");
    });

    test("a model that the server does not have", async () => {
      const graph = textToImage({ 4: { ckpt_name: "missing.safetensors" } });
      await assert.rejects(comfyui.run(graph), (error) => {
        assert.ok(error instanceof PromptRejected);
        assert.deepEqual(Object.keys(error.nodeErrors), ["4"]);
        return error.message.includes("missing.safetensors");
      });
    });

    test("an upload that is no picture", async () => {
      const image = await comfyui.upload("letter.png", new TextEncoder().encode("Dear Sir or Madam"));
      const graph = {
        1: { class_type: "LoadImage", inputs: { image } },
        2: { class_type: "PreviewImage", inputs: { images: ["1", 0] } },
      };
      await assert.rejects(comfyui.run(graph), (error) => {
        assert.ok(error instanceof ExecutionFailed);
        return error.nodeType === "LoadImage" && error.nodeId === "1";
      });
    });

    test("cancelling leaves nothing behind in the queue", async () => {
      const running = AbortSignal.timeout(50);
      const long = textToImage({ [SAMPLER]: { steps: 10_000 } });
      await assert.rejects(comfyui.run(long, { signal: running }), { name: "TimeoutError" });
      const outputs = await comfyui.run(textToImage()); // would wait for minutes behind the other one
      assert.equal(outputs[SAVED].images.length, 1);
    });

    test("what somebody else interrupts", async () => {
      let over = false;
      const long = comfyui.run(textToImage({ [SAMPLER]: { steps: 10_000 } }));
      const gone = assert.rejects(long, PromptGone).finally(() => (over = true));
      while (!over) await fetch(`${server.url}/interrupt`, { method: "POST" }); // one that comes too early hits nobody
      await gone;
    });
  });
}

test("progress and previews come by WebSocket", { skip: !globalThis.WebSocket }, async () => {
  const [steps, previews] = [[], []];
  const comfyui = new ComfyUI(server.url);
  await comfyui.run(textToImage(), {
    onProgress: ({ node, value }) => node === SAMPLER && steps.push(value),
    onPreview: (bytes) => previews.push(bytes),
  });
  assert.deepEqual(steps, Array.from({ length: 20 }, (_, index) => index + 1));
  assert.equal(previews.length, 20);
  assert.deepEqual([...previews[0].slice(0, 2)], [0xff, 0xd8]); // a JPEG
});
