import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

const COMFYUI = process.env.COMFYUI_URL ?? "http://127.0.0.1:8188"; // comfy-mock serve --control
const ask = (method, path, body) => fetch(COMFYUI + path, { method, body: body && JSON.stringify(body) });
const control = async (method, path, body) => {
  const answer = await ask(method, `/__comfy_mock__/${path}`, body);
  return answer.ok ? answer.json() : assert.fail(await answer.text());
};
const PROMPT = { prompt: { 1: { class_type: "EmptyImage", inputs: { width: 64, height: 64, batch_size: 1, color: 255 } },
                           2: { class_type: "PreviewImage", inputs: { images: ["1", 0] } } } };
beforeEach(() => control("POST", "reset", { script: null }));

test("a rate limit is over after one refusal", async () => {
  await control("PUT", "script", { rules: [{ on: "request", match: { route: "POST /prompt" }, times: 1, status: 429 }] });
  assert.equal((await ask("POST", "/prompt", PROMPT)).status, 429);
  assert.equal((await ask("POST", "/prompt", PROMPT)).status, 200);
});

test("a run that is interrupted at step 3 has told of three steps", async () => {
  await control("PUT", "script", { rules: [{ on: "node", match: { node: "1" }, steps: 20, holds: [{ name: "step 3", at_step: 3 }] }] });
  await ask("POST", "/prompt", PROMPT);
  await control("POST", "journal/wait", { for: "hold", name: "step 3" });
  await ask("POST", "/interrupt");
  await control("POST", "release", { name: "step 3" });
  await control("POST", "journal/wait", { for: "event", event: "execution_interrupted" });
  assert.equal((await control("GET", "journal/events?event=progress")).events.length, 3);
});
