// The main path of @saintno/comfyui-sdk: client, prompt builder, call wrapper with all its callbacks, pool, uploads.
import assert from "node:assert/strict";
import { CallWrapper, ComfyApi, ComfyPool, EQueueMode, PromptBuilder } from "@saintno/comfyui-sdk";
import { base, checkpoint, failing, finish, imageToImage, isJpeg, isPng, pngSize, step, textToImage, within } from "./harness.mjs";

const api = new ComfyApi(base);
const connected = within(20, "connected", new Promise((resolve) => api.on("connected", resolve)));
const firstStatus = within(20, "status", new Promise((resolve) => api.on("status", (event) => resolve(event.detail))));
await api.init().waitForReady();

let seeds = 2000;

/** The detail of the next event of this type. */
const heard = (type) =>
  within(20, type, new Promise((resolve) => api.on(type, ({ detail }) => resolve(detail), { once: true })));

function builder(graph = textToImage({ seed: ++seeds })) {
  return new PromptBuilder(graph, ["seed", "steps", "checkpoint", "positive"], ["images"])
    .setInputNode("seed", "3.inputs.seed")
    .setInputNode("steps", "3.inputs.steps")
    .setInputNode("checkpoint", "4.inputs.ckpt_name")
    .setInputNode("positive", "6.inputs.text")
    .setOutputNode("images", "9");
}

/** Run a prompt and note each callback in order, with repetitions once. */
async function run(prompt, client = api) {
  const seen = [];
  const note = (name) => seen.at(-1) !== name && seen.push(name);
  const facts = { seen, previews: [], progress: [], errors: [] };
  facts.result = await new CallWrapper(client, prompt)
    .onPending(() => note("pending"))
    .onStart(() => note("start"))
    .onProgress(({ value, max }) => (note("progress"), facts.progress.push(`${value}/${max}`)))
    .onPreview((blob) => facts.previews.push(blob))
    .onOutput((key) => note(`output ${key}`))
    .onFinished(() => note("finished"))
    .onFailed((error) => (note("failed"), facts.errors.push(error)))
    .run();
  return facts;
}

await step("connect", async () => {
  await connected;
  assert.equal((await firstStatus).status.exec_info.queue_remaining, 0);
  assert.equal((await api.ping()).status, true);
  assert.deepEqual(api.availableFeatures, { manager: false, monitor: false });
  assert.equal(api.osType, (await api.getSystemStats()).system.os);
});

await step("metadata", async () => {
  assert.ok((await api.getCheckpoints()).includes(checkpoint));
  assert.ok(Array.isArray(await api.getLoras()));
  assert.ok((await api.getSamplerInfo()).sampler[0].includes("euler"));
  assert.equal(Object.keys(await api.getNodeDefs()).length, 887);
  assert.equal(await api.getNodeDefs("NoSuchClass"), null);
  assert.ok(Array.isArray(await api.getEmbeddings()));
  assert.ok(Array.isArray(await api.getExtensions()));
  assert.equal((await api.getFeatures()).supports_preview_metadata, true);
  assert.ok((await api.getModelTypes()).includes("checkpoints"));
  assert.ok((await api.getModels("checkpoints")).includes(checkpoint));
  assert.ok((await api.getModelFolders()).some(({ name }) => name === "checkpoints"));
  assert.ok((await api.getModelFiles("checkpoints")).some(({ name }) => name === checkpoint));
  assert.equal(typeof (await api.getViewMetadata("checkpoints", checkpoint)), "object");
  assert.deepEqual(await api.getViewMetadata("checkpoints", "none.safetensors"), {});
  assert.deepEqual(await api.getWorkflowTemplates(), {});
});

await step("a prompt: pending, start, progress, previews, output, finished, picture", async () => {
  const prompt = builder().input("steps", 5).input("positive", "a castle").input("checkpoint", checkpoint, api.osType);
  const { seen, previews, progress, result } = await run(prompt);
  assert.deepEqual(seen, ["pending", "start", "progress", "output images", "finished"]);
  assert.deepEqual(progress, ["1/5", "2/5", "3/5", "4/5", "5/5"]);
  assert.equal(previews.length, 5);
  assert.ok(isJpeg(await previews[0].arrayBuffer()));
  const [image] = result.images.images;
  assert.deepEqual(pngSize(await (await api.getImage(image)).arrayBuffer()), [64, 64]);
  assert.ok(isPng(await (await fetch(api.getPathImage(image))).arrayBuffer()));
});

await step("bypassed node", async () => {
  const graph = textToImage({ seed: ++seeds });
  graph[10] = { class_type: "ImageInvert", inputs: { image: ["8", 0] } };
  graph[9].inputs.images = ["10", 0];
  const { result } = await run(builder(graph).bypass("10"));
  assert.equal(result.images.images.length, 1);
});

await step("refused and failing prompts", async () => {
  const refused = await run(builder().input("checkpoint", "none.safetensors"));
  assert.equal(refused.result, false);
  assert.equal(refused.errors[0].name, "EnqueueFailedError");
  assert.equal(refused.errors[0].cause.node_errors[4].errors[0].type, "value_not_in_list");
  const failed = await run(builder(failing(++seeds)));
  assert.equal(failed.result, false);
  assert.equal(failed.errors[0].name, "CustomEventError");
  assert.equal(failed.errors[0].cause.node_id, "9");
  assert.equal(failed.errors[0].cause.node_type, "SaveImage");
});

await step("interrupt", async () => {
  const started = heard("progress");
  const running = run(builder().input("steps", 200));
  await started;
  await api.interrupt();
  const { result, errors } = await running;
  assert.equal(result, false);
  assert.equal(errors[0].name, "ExecutionInterruptedError");
});

await step("queue and history", async () => {
  const busy = heard("progress");
  const { prompt_id: long } = await api.queuePrompt(null, builder().input("steps", 200).workflow);
  await busy;
  const { prompt_id: waiting } = await api.appendPrompt(builder().workflow);
  const queue = await api.getQueue();
  assert.deepEqual([queue.queue_running[0][1], queue.queue_pending[0][1]], [long, waiting]);
  await api.manageQueue({ delete: [waiting] });
  assert.equal((await api.getQueue()).queue_pending.length, 0);
  const ended = heard("execution_interrupted");
  await api.interrupt();
  await ended;
  let entry;
  while (!(entry = await api.getHistory(long)));
  assert.equal(entry.status.status_str, "error");
  assert.equal((await api.getHistories(1))[long].status.completed, false);
  await api.clearHistory({ clear: true });
  assert.deepEqual(await api.getHistories(), {});
  assert.equal((await api.pollStatus()).exec_info.queue_remaining, 0);
  assert.equal(await api.freeMemory(true, true), true);
});

await step("uploads, and image to image", async () => {
  const { result } = await run(builder());
  const picture = Buffer.from(await (await api.getImage(result.images.images[0])).arrayBuffer());
  const { info, url } = await api.uploadImage(picture, "mine.png", { subfolder: "interop" });
  assert.deepEqual(info, { name: "mine.png", filename: "mine.png", subfolder: "interop", type: "input" });
  assert.deepEqual(Buffer.from(await (await fetch(url)).arrayBuffer()), picture);
  const mask = await api.uploadMask(picture, { ...info });
  assert.equal(mask.info.type, "input");
  const again = await run(builder(imageToImage({ seed: ++seeds, image: "interop/mine.png" })));
  assert.deepEqual(pngSize(await (await api.getImage(again.result.images.images[0])).arrayBuffer()), [64, 64]);
});

await step("settings and user data", async () => {
  await api.storeSettings({ "saintno.a": 1 });
  await api.storeSetting("saintno.b", [2]);
  assert.deepEqual((await api.getSettings())["saintno.b"], [2]);
  assert.equal(await api.getSetting("saintno.a"), 1);
  assert.equal((await api.getUserConfig()).storage, "server");
  assert.ok((await api.createUser("eve")).ok);
  await api.storeUserData("notes/a.json", { x: 1 });
  assert.deepEqual(await (await api.getUserData("notes/a.json")).json(), { x: 1 });
  assert.equal((await api.moveUserData("notes/a.json", "notes/b.json")).status, 200);
  assert.deepEqual(await api.listUserData("notes"), ["b.json"]);
  assert.ok((await api.listUserDataV2("")).some(({ path }) => path === "notes/b.json"));
  await api.deleteUserData("notes/b.json");
  assert.deepEqual(await api.listUserData("notes"), []);
});

await step("terminal logs", async () => {
  assert.ok(Array.isArray((await api.getTerminalLogs()).entries));
  await api.setTerminalSubscription(true);
  const line = heard("terminal");
  await run(builder());
  assert.equal(typeof (await line).m, "string");
  await api.setTerminalSubscription(false);
});

await step("a pool of two clients", async () => {
  const pool = new ComfyPool([new ComfyApi(base, "pool-a"), new ComfyApi(base, "pool-b")], EQueueMode.PICK_LOWEST);
  const ready = [];
  pool.on("ready", ({ detail }) => ready.push(detail.clientIdx));
  const job = async (client) => (await run(builder(), client)).result.images.images.length;
  assert.deepEqual(await pool.batch([job, job, job]), [1, 1, 1]);
  assert.deepEqual(ready.sort(), [0, 1]);
  pool.destroy();
});

await step("destroy", () => api.destroy());

finish();
