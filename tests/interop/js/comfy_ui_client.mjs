// The main path of comfy-ui-client.
import assert from "node:assert/strict";
import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ComfyUIClient } from "comfy-ui-client";
import { checkpoint, failing, finish, host, imageToImage, pngSize, step, textToImage } from "./harness.mjs";

const client = new ComfyUIClient(host, "comfy-ui-client");
const folder = await mkdtemp(join(tmpdir(), "comfy-"));
await client.connect();

await step("metadata", async () => {
  assert.ok(Array.isArray(await client.getEmbeddings()));
  assert.ok(Array.isArray(await client.getExtensions()));
  assert.equal((await client.getSystemStats()).system.comfyui_version, "0.33.0");
  assert.deepEqual(Object.keys(await client.getObjectInfo("KSampler")), ["KSampler"]);
  assert.equal(Object.keys(await client.getObjectInfo()).length, 887);
  assert.deepEqual(await client.getPrompt(), { exec_info: { queue_remaining: 0 } });
  assert.deepEqual(await client.getQueue(), { queue_running: [], queue_pending: [] });
  assert.equal(typeof (await client.viewMetadata("checkpoints", checkpoint)), "object");
});

await step("a prompt and its pictures", async () => {
  const images = await client.getImages(textToImage({ seed: 3001, batch: 2, prefix: "client" }));
  assert.deepEqual(images[9].map(({ image }) => image.filename), ["client_00001_.png", "client_00002_.png"]);
  await client.saveImages(images, folder);
  assert.deepEqual(pngSize(await readFile(join(folder, "client_00002_.png"))), [64, 64]);
});

await step("history", async () => {
  const [id, entry] = Object.entries(await client.getHistory())[0];
  assert.deepEqual(await client.getHistory(id), { [id]: entry });
  assert.equal(entry.status.status_str, "success");
});

await step("upload and use", async () => {
  const picture = await readFile(join(folder, "client_00002_.png"));
  const stored = await client.uploadImage(picture, "mine.png", true);
  assert.deepEqual(stored, { name: "mine.png", subfolder: "", type: "input" });
  const images = await client.getImages(imageToImage({ seed: 3002, image: "mine.png" }));
  assert.deepEqual(pngSize(await images[9][0].blob.arrayBuffer()), [64, 64]);
  const original = await client.getImage("mine.png", "", "input");
  assert.deepEqual(Buffer.from(await original.arrayBuffer()), picture);
});

await step("refused and failing prompts", async () => {
  const broken = textToImage({ seed: 3003 });
  delete broken[9].inputs.images;
  const error = await client.getImages(broken).catch((reason) => JSON.parse(reason.message));
  assert.equal(error.node_errors[9].errors[0].type, "required_input_missing");
  assert.deepEqual(await client.getImages(failing(3004)), {});
});

await step("what this client cannot read of any server", async () => {
  // It wants JSON where ComfyUI answers with an empty body, and sends the mask's reference under another name.
  await assert.rejects(client.interrupt(), SyntaxError);
  await assert.rejects(client.editHistory({ clear: true }), SyntaxError);
  assert.deepEqual(await client.getHistory(), {});
  await assert.rejects(client.uploadMask(Buffer.from("x"), "m.png", { filename: "mine.png", type: "input" }), SyntaxError);
});

await client.disconnect();
finish();
