// The whole public surface of @stable-canvas/comfyui-client.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import WebSocket from "ws";
import * as library from "@stable-canvas/comfyui-client";
import { base, checkpoint, failing, finish, host, isJpeg, isPng, pngSize, step, textToImage, within } from "./harness.mjs";
import { declaredMethods, record } from "./surface.mjs";

const { BasePipe, Client, EfficientPipe, Workflow, WsClient, plugins, builtins, outToB64Urls } = library;

const entry = createRequire(import.meta.url).resolve("@stable-canvas/comfyui-client");
const declared = declaredMethods(join(dirname(entry), "main.d.ts"));
delete declared.EventEmitter; // its own package, bundled

const InvokedWorkflow = new Workflow().instance(new Client({ api_host: host, WebSocket })).constructor;
const classes = {
  ...library, InvokedWorkflow, Disposable: Object.getPrototypeOf(InvokedWorkflow),
  LoginAuthPlugin: plugins.LoginAuthPlugin,
};
const called = new Set();
for (const [name, methods] of Object.entries(declared)) record(classes[name], name, methods, called);

let seeds = 1000;
const graph = (options = {}) => textToImage({ seed: ++seeds, ...options });
const slow = () => graph({ steps: 200 });
const newClient = (options = {}) => new Client({ api_host: host, WebSocket, ...options });
const event = (target, type) => within(20, type, new Promise((resolve) => target.once(type, (...data) => resolve(data[0]))));

/** Keep the queue busy until the returned function is called, so that what is submitted meanwhile has not begun. */
async function hold() {
  const begun = event(client, "progress");
  const { prompt_id } = await client.queuePrompt(0, { prompt: slow(), workflow: undefined });
  await begun;
  return () => client.interrupt(prompt_id);
}

function workflow({ prefix = "interop", prompt = graph({ prefix }) } = {}) {
  const wf = new Workflow();
  for (const node of Object.values(prompt)) wf.node(node.class_type, node.inputs);
  const ids = Object.fromEntries(Object.keys(prompt).map((id, index) => [id, String(index + 1)]));
  for (const node of Object.values(wf._workflow.prompt)) {
    for (const [name, value] of Object.entries(node.inputs)) {
      if (Array.isArray(value)) node.inputs[name] = [ids[value[0]], value[1]];
    }
  }
  return wf;
}

await step("URLs and headers", () => {
  const client = newClient({ clientId: "a b", user: "bob" });
  assert.equal(client.apiURL("/queue?x=1"), `${base}/queue?x=1&clientId=a+b`);
  assert.equal(client.internalURL("/logs"), `${base}/internal/logs?clientId=a+b`);
  assert.equal(client.viewURL("a.png", "s", "output"), `${base}/view?filename=a.png&subfolder=s&type=output`);
  assert.equal(client.wsURL(), `ws://${host}/ws?clientId=a+b`);
  assert.equal(client.apiHeaders({ headers: { X: "1" } })["Comfy-User"], "bob");
  assert.ok(Array.isArray(client.registered));
});

await step("connect, first status, disconnect", async () => {
  const client = newClient({ clientId: "interop-1" });
  const seen = [];
  const off = client.addEventListener("connected", () => seen.push("connected"));
  client.on("status", (status) => status && seen.push(status.exec_info.queue_remaining));
  const first = event(client, "status");
  assert.equal(await client.connect(), true);
  assert.deepEqual(await first, { exec_info: { queue_remaining: 0 } });
  assert.deepEqual(seen, ["connected", 0]);
  assert.equal(client.clientId, "interop-1");
  off();
  client.disconnect();
  assert.equal(client.socket, null);
  client.close();
  assert.equal(client.closed, true);
});

await step("the socket is lost and comes back", async () => {
  const client = newClient();
  client.init();
  await event(client, "connected");
  const lost = event(client, "reconnecting");
  const back = event(client, "reconnected");
  client.socket.close();
  await lost;
  await back;
  client.close();
});

await step("polling instead of a socket", async () => {
  const client = newClient();
  const status = event(client, "status");
  assert.equal(await client.connect({ polling: { enabled: true, interval: 20 }, websocket: { enabled: false } }), true);
  assert.deepEqual(await status, { exec_info: { queue_remaining: 0 } });
  client._disconnectPolling();
  client._disconnectSocket();
  client.close();
});

const client = newClient();
await client.connect();

await step("status and metadata", async () => {
  const stats = await client.getSystemStats();
  assert.equal(stats.system.comfyui_version, "0.33.0");
  assert.ok(stats.devices.length >= 1);
  assert.ok((await client.getExtensions()).every((path) => path.startsWith("/extensions/")));
  assert.ok(Array.isArray(await client.getEmbeddings()));
  const nodes = await client.getNodeDefs();
  assert.equal(Object.keys(nodes).length, 887);
  assert.ok((await client.getSamplers()).includes("euler"));
  assert.ok((await client.getSchedulers()).includes("karras"));
  assert.ok((await client.getSDModels()).includes(checkpoint));
  assert.ok((await client.getVAEs()).includes("pixel_space"));
  assert.ok(Array.isArray(await client.getCNetModels()));
  assert.ok(Array.isArray(await client.getLoRAs()));
  // Classes of the newer schema have their choices elsewhere, and this client shows the type instead.
  assert.equal(await client.getUpscaleModels(), "COMBO");
  assert.equal(await client.getHyperNetworks(), "COMBO");
});

await step("models", async () => {
  const folders = await client.getModelFolders();
  assert.ok(folders.some((folder) => folder.name === "checkpoints" && folder.extensions.includes(".safetensors")));
  const files = await client.getModels("checkpoints");
  assert.ok(files.some((file) => file.name === checkpoint && file.pathIndex === 0));
  assert.equal(typeof (await client.viewMetadata("checkpoints", checkpoint)), "object");
});

await step("logs", async () => {
  const raw = await client.getRawLogs().catch((error) => error);
  const text = await client.getLogs().catch((error) => error);
  // This release joins the internal URL to the base twice, and then fails to read the empty 404 of any server.
  assert.ok(raw instanceof SyntaxError && text instanceof SyntaxError);
  const mended = newClient();
  class RelativeLogs extends library.Plugin {
    constructor() {
      super();
      this.addHook({ type: "function", name: "internalURL", fn: (_, route) => `/internal${route}` });
    }
  }
  mended.use(new RelativeLogs());
  assert.equal(typeof (await mended.getLogs()), "string");
  const { entries, size } = await mended.getRawLogs();
  assert.ok(entries.every((entry) => typeof entry.t === "string" && typeof entry.m === "string"));
  assert.deepEqual(size, { cols: 80, rows: 24 });
});

await step("settings, users and user data", async () => {
  await client.storeSettings({ "interop.a": 1, "interop.b": [true, null] });
  await client.storeSetting("interop.c", "x");
  assert.deepEqual(await client.getSettings(), { "interop.a": 1, "interop.b": [true, null], "interop.c": "x" });
  assert.equal(await client.getSetting("interop.c"), "x");
  assert.equal(await client.getSetting("interop.none"), null);
  assert.equal((await client.getUserConfig()).storage, "server");
  assert.match(await (await client.createUser("bob smith!")).json(), /^bob-smith-_[0-9a-f-]{36}$/);
  await client.storeUserData("workflows/a.json", { a: 1 }, { stringify: true });
  assert.deepEqual(await (await client.getUserData("workflows/a.json")).json(), { a: 1 });
  await assert.rejects(client.getUserData("workflows/none.json"), SyntaxError); // an empty 404 is no JSON
});

await step("queue: numbers, front, deletion, clearing", async () => {
  const begun = event(client, "progress");
  const running = await client.queuePrompt(0, { prompt: slow(), workflow: { id: "w" } });
  await begun;
  assert.deepEqual(running.node_errors, {});
  const later = await client.queuePrompt(0, { prompt: graph(), workflow: {} });
  assert.equal(later.number, running.number + 1);
  const front = await client.queuePrompt(-1, { prompt: graph(), workflow: {} });
  assert.equal(front.number, -(later.number + 1));
  const numbered = await client.queuePrompt(7, { prompt: graph(), workflow: {} });
  assert.equal(numbered.number, 7);

  assert.deepEqual(await client.getPromptStatus(running.prompt_id), { running: true, pending: false, done: false });
  assert.deepEqual(await client.getPromptStatus(later.prompt_id), { running: false, pending: true, done: false });
  const { Running, Pending } = await client.getItems("queue");
  assert.deepEqual(Running.map((item) => item[1]), [running.prompt_id]);
  assert.deepEqual(Running[0][3].extra_pnginfo, { workflow: { id: "w" } });
  assert.equal(Pending.length, 3);

  await client.deleteItem("queue", numbered.prompt_id);
  assert.equal((await client.getQueue()).Pending.length, 2);
  await client.clearItems("queue");
  assert.equal((await client.getQueue()).Pending.length, 0);
  const interrupted = event(client, "execution_interrupted");
  await client.interrupt(later.prompt_id); // not running: nothing happens
  await client.interrupt(running.prompt_id);
  assert.equal((await interrupted).prompt_id, running.prompt_id);
  await client.waitForPrompt(running.prompt_id, 20);
  await assert.rejects(client.getPromptOutputs(running.prompt_id), library.PromptExecutionFailedError);
  await assert.rejects(client.getPromptOutputs(later.prompt_id), library.PromptNotFoundError);
  assert.equal((await client.getPromptStatus(later.prompt_id)).done, true);
});

await step("enqueue: progress, previews, events, picture", async () => {
  await client.free({ unload_models: true, free_memory: true });
  const types = [];
  const previews = [];
  const offs = ["execution_start", "execution_cached", "progress_state", "executing", "executed", "execution_success"].map(
    (type) => client.on(type, () => types.push(type)),
  );
  offs.push(client.on("b_preview", (blob) => previews.push(blob)));
  const nodes = [];
  offs.push(client.on("executing", ({ node }) => node && nodes.push(node)));
  const unhandled = [];
  offs.push(client.on("unhandled", (message) => unhandled.push(message.type)));
  const steps = [];
  const offProgress = client.on_progress(() => steps.push("of another prompt"), "another prompt");
  const success = event(client, "execution_success");
  const result = await client.enqueue(graph(), { progress: ({ value, max }) => steps.push(`${value}/${max}`) });
  await success;
  offProgress();
  offs.forEach((off) => off());
  assert.deepEqual(steps, ["1/4", "2/4", "3/4", "4/4"]);
  assert.equal(previews.length, 4);
  assert.ok(isJpeg(await previews[0].arrayBuffer()));
  // the closing `executing` of the run before may still come in
  const begun = types.indexOf("execution_start");
  assert.deepEqual(types.slice(begun, begun + 2), ["execution_start", "execution_cached"]);
  assert.equal(types.at(-1), "execution_success");
  assert.deepEqual([...nodes].sort(), ["3", "4", "5", "6", "7", "8", "9"]);
  assert.equal(types.filter((type) => type === "executed").length, 1);
  assert.deepEqual([...new Set(unhandled)], ["status"]);
  const url = result.images.at(-1);
  assert.equal(url.type, "url");
  assert.deepEqual(pngSize(await (await fetch(url.data)).arrayBuffer()), [64, 64]);
  const [data] = await outToB64Urls({ ...result, images: [url] });
  assert.ok(data.startsWith("data:image/jpeg;base64,iVBORw0KGgo")); // this client goes by the end of the URL
});

await step("previews with metadata and progress text", async () => {
  const flagged = newClient();
  await flagged.connect();
  const answer = event(flagged, "feature_flags");
  flagged.socket.send(JSON.stringify({ type: "feature_flags", data: { supports_preview_metadata: true } }));
  assert.equal((await answer).supports_preview_metadata, true);
  const preview = event(flagged, "b_preview_with_metadata");
  const { prompt_id } = await flagged._enqueue_prompt(graph());
  const { blob, nodeId, promptId } = await preview;
  assert.ok(isJpeg(await blob.arrayBuffer()));
  assert.deepEqual([nodeId, promptId], ["3", prompt_id]);
  await flagged.waitForPrompt(prompt_id, 20);

  const text = event(flagged, "progress_text");
  const measured = {
    1: { class_type: "EmptyImage", inputs: { width: 24, height: 16, batch_size: 1, color: 1 } },
    2: { class_type: "GetImageSize", inputs: { image: ["1", 0] } },
    3: { class_type: "PreviewAny", inputs: { source: ["2", 0] } },
  };
  const resolver = (acc, output) => ({ ...acc, data: output.text });
  const result = await flagged.enqueue(measured, { resolver });
  assert.deepEqual(result.data, ["24"]);
  assert.deepEqual(await text, { nodeId: "2", text: "width: 24, height: 16\n batch size: 1" });
  flagged.close();
});

await step("binary frames by hand", async () => {
  const frame = Buffer.from([0, 0, 0, 1, 0, 0, 0, 2, 0x89, 0x50]);
  const [{ type, data }] = WsClient.readBinaryData(frame.buffer.slice(frame.byteOffset, frame.byteOffset + frame.length));
  assert.equal(type, "b_preview");
  assert.equal(data.type, "image/png");
});

await step("polling: enqueue_polling, runPrompt, results, history", async () => {
  await client.clearItems("history");
  const result = await client.enqueue_polling(graph({ batch: 2, prefix: "sub/folder" }), { polling_ms: 20 });
  assert.equal(result.images.length, 2);
  assert.ok(result.images[0].data.includes("subfolder=sub"));
  const old = await client.runPrompt(graph(), { polling_ms: 20, workflow: { id: "w2" } });
  assert.equal(old.images.length, 1);
  assert.deepEqual(await client.getPromptResult(old.prompt_id), old);
  const named = await client.getPromptResult(old.prompt_id, (acc, output, { node_id }) => ({ ...acc, data: node_id }));
  assert.equal(named.data, "9");
  assert.deepEqual(builtins.RESOLVERS.image(old, null, { client }), old);
  const { History } = await client.getHistory();
  assert.deepEqual(History.map((item) => item.prompt[1]), [result.prompt_id, old.prompt_id]);
  assert.deepEqual(History[1].prompt[3].extra_pnginfo, { workflow: { id: "w2" } });
  assert.deepEqual((await client.getHistory(1)).History.map((item) => item.prompt[1]), [old.prompt_id]);
  assert.deepEqual((await client.getHistory(1, { offset: 0 })).History.map((item) => item.prompt[1]), [result.prompt_id]);
  await client.deleteItem("history", result.prompt_id);
  assert.deepEqual((await client.getItems("history")).History.map((item) => item.prompt[1]), [old.prompt_id]);
  await assert.rejects(client.enqueue_polling(graph(), { progress: () => {} }), library.ClientEnqueueError);
});

await step("waiting by socket, and in vain", async () => {
  const { prompt_id } = await client.queuePrompt(0, { prompt: graph(), workflow: undefined });
  const output = await client.waitForPromptWebSocket(prompt_id, builtins.RESOLVERS.image);
  assert.equal(output.images.filter((image) => image.type === "url").length, 1);
  await client.waitForPrompt(prompt_id, 20);
  const { prompt_id: long } = await client.queuePrompt(0, { prompt: slow(), workflow: undefined });
  await assert.rejects(client.waitForPrompt(long, 20, 100), library.PromptTimeoutError);
  await client.interrupt();
  await client.waitForPrompt(long, 20);
});

await step("errors: refused, failing", async () => {
  const broken = graph();
  broken[3].inputs.steps = 0;
  const refused = await client.enqueue(broken).catch((error) => error);
  assert.ok(refused instanceof library.HttpError);
  assert.equal(refused.status, 400);
  assert.equal(refused.json.error.type, "prompt_outputs_failed_validation");
  assert.equal(refused.json.node_errors[3].errors[0].type, "value_smaller_than_min");
  const failed = await client.enqueue(failing(++seeds)).catch((error) => error);
  assert.ok(failed instanceof library.WorkflowExecutionError);
  assert.equal(failed.payload.node_id, "9");
  assert.equal(failed.payload.node_type, "SaveImage");
  assert.ok(failed.payload.executed.includes("3"));
  await client.waitForPrompt(failed.task_id, 20);
  await assert.rejects(client.getPromptResult(failed.task_id), library.PromptExecutionFailedError);
});

await step("free", async () => {
  await client.free({ unload_models: true, free_memory: true });
  const cached = event(client, "execution_cached");
  await client.enqueue_polling(textToImage({ seed: seeds }), { polling_ms: 20 });
  assert.deepEqual((await cached).nodes, []);
  const again = event(client, "execution_cached");
  await client.enqueue_polling(textToImage({ seed: seeds }), { polling_ms: 20 });
  assert.deepEqual((await again).nodes, ["3", "4", "5", "6", "7", "8", "9"]);
});

await step("Workflow: building", () => {
  const wf = new Workflow();
  const [model, clip, vae] = wf.classes.CheckpointLoaderSimple({ ckpt_name: checkpoint });
  assert.deepEqual([model, clip, vae], [["1", 0], ["1", 1], ["1", 2]]);
  assert.deepEqual(wf.node("CLIPTextEncode", { text: "x", clip })[0], ["2", 0]);
  assert.deepEqual(wf.end(), wf.workflow());
  assert.equal(Object.keys(wf.workflow().prompt).length, 2);
  wf.reset();
  assert.deepEqual(wf.workflow().prompt, {});
});

await step("Workflow: invoke and invoke_polling", async () => {
  const progress = [];
  const result = await workflow().invoke(client, { progress: ({ value }) => progress.push(value) });
  assert.deepEqual(progress, [1, 2, 3, 4]);
  assert.equal(result.images.filter((image) => image.type === "url").length, 1);
  const polled = await workflow().invoke_polling(client, { polling_ms: 20 });
  assert.equal(polled.images.length, 1);
});

await step("InvokedWorkflow: events, query, guards", async () => {
  const invoked = workflow().instance(client, {});
  await assert.rejects(invoked.query(), library.WorkflowTaskIdError);
  const release = await hold();
  await invoked.enqueue();
  await assert.rejects(invoked.enqueue(), library.WorkflowEnqueuedError);
  let started = false;
  invoked.on_start(() => (started = true));
  const nodes = [];
  invoked.on("executing", ({ node }) => nodes.push(node));
  let first = 0;
  invoked.once("progress", () => first++);
  assert.deepEqual(await invoked.query(), { running: false, pending: true, done: false });
  await release();
  const result = await invoked.wait();
  assert.equal(result.images.filter((image) => image.type === "url").length, 1);
  assert.ok(started);
  assert.equal(first, 1);
  assert.deepEqual(nodes, ["1", "6", "7", null]); // the rest is what the cache has of the prompt before
  assert.equal(typeof invoked.task_id, "string");
  assert.equal(invoked.is_disposed, true);
  await assert.rejects(invoked.wait(), library.WorkflowDoneError);
  invoked.dispose();
});

await step("InvokedWorkflow: interrupted while running, deleted while pending", async () => {
  const running = workflow({ prompt: slow() }).instance(client);
  await running.enqueue();
  const pending = workflow().instance(client);
  await pending.enqueue();
  const end = running.wait().catch((error) => error);
  await event(client, "progress");
  await pending.interrupt();
  await client.waitForPrompt(pending.task_id, 20);
  await running.interrupt();
  assert.ok((await end) instanceof library.WorkflowInterruptedError);
  await client.waitForPrompt(running.task_id, 20);
  await assert.rejects(client.getPromptOutputs(pending.task_id), library.PromptNotFoundError);
});

await step("InvokedWorkflow: wait_polling", async () => {
  const invoked = workflow().instance(client);
  await invoked.enqueue();
  const result = await invoked.wait_polling({ polling_ms: 20 });
  assert.ok(result.images.some((image) => image.type === "url"));
  const failed = workflow({ prompt: failing(++seeds) }).instance(client);
  await failed.enqueue();
  await assert.rejects(failed.wait_polling({ polling_ms: 20 }));
});

await step("BasePipe: text to image, saved and by socket", async () => {
  assert.ok(Number.isInteger(BasePipe.nextSeed()));
  const pipe = () =>
    new BasePipe().with(client).model(checkpoint).prompt("a lighthouse").negative("text").size(64, 32).steps(3).cfg(5)
      .seed(++seeds).denoise(1).scheduler("karras").sampler("euler").batch_size(1);
  let updates = 0;
  let starts = 0;
  const saved = pipe().save("interop").on("progress", () => updates++).once("executing", () => starts++);
  const { images } = await saved.wait();
  assert.deepEqual(pngSize(images.at(-1).data), [64, 32]);
  assert.equal(updates, 3);
  assert.equal(starts, 1);
  const bySocket = await pipe().batch_size(2).save().wait();
  const pictures = bySocket.images.filter((image) => isPng(image.data));
  assert.equal(pictures.length, 2);
  assert.deepEqual(pngSize(pictures[0].data), [64, 32]);
  const polled = await pipe().save("interop").wait_polling();
  assert.ok(polled.images.some((image) => isPng(image.data)));
});

await step("BasePipe: image to image, with a mask (a custom node pack's classes)", async () => {
  const picture = Buffer.from(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    "base64",
  );
  const { images } = await new BasePipe().with(client).model(checkpoint).image(picture).mask(picture).prompt("a boat")
    .steps(2).denoise(0.5).seed(++seeds).sampler("euler").save("interop").wait();
  assert.ok(images.some((image) => isPng(image.data)));
});

await step("EfficientPipe (a custom node pack's classes)", async () => {
  const { images } = await new EfficientPipe().with(client).model(checkpoint).prompt("a boat").steps(2).seed(++seeds)
    .sampler("euler").lora("add_detail.safetensors", { weight: 0.5 }).cnet("control_v11p_sd15_openpose.pth", Buffer.from("x"))
    .save("interop").wait();
  assert.ok(images.some((image) => isPng(image.data)));
});

await step("plugins: LoginAuthPlugin", async () => {
  const guarded = newClient();
  guarded.use(new plugins.LoginAuthPlugin({ token: "secret" }));
  assert.ok(guarded.wsURL().includes("token=secret"));
  assert.equal(await guarded.connect(), true);
  assert.ok((await guarded.getQueue()).Pending.length === 0); // the server does not mind the stray parameter
  guarded.close();
});

await step("names of old", () => {
  assert.equal(library.ComfyUIApiClient, Client);
  assert.equal(library.ComfyUIWsClient, WsClient);
  assert.equal(library.ComfyUIWorkflow, Workflow);
  assert.equal(library.ClientPlugin, library.Plugin);
});

const all = Object.entries(declared).flatMap(([name, methods]) => [...methods].map((method) => `${name}.${method}`));
finish({ declared: all.sort(), missed: all.filter((method) => !called.has(method)).sort() });
