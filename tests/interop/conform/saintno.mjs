// @saintno/comfyui-sdk: a CallWrapper with all outputs mapped.
import { CallWrapper, ComfyApi, PromptBuilder } from "@saintno/comfyui-sdk";
import { pictures, tell, url, workflow } from "./job.mjs";

const api = new ComfyApi(url);
await api.init().waitForReady();
const keys = pictures.map((id) => `out${id}`);
const builder = new PromptBuilder(workflow, [], keys);
pictures.forEach((id) => builder.setOutputNode(`out${id}`, id));
let failure;
const result = await new CallWrapper(api, builder).onFailed((error) => (failure ??= error)).run();
if (!result) tell({ error: String(failure ?? "no result") });
else tell(Object.fromEntries(pictures.map((id) => [id, result[`out${id}`]?.images ?? []])));
