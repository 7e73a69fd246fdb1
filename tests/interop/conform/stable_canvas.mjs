// @stable-canvas/comfyui-client: enqueue or, with the word `polling`, enqueue_polling, with a resolver that keeps nodes apart.
import WebSocket from "ws";
import { Client } from "@stable-canvas/comfyui-client";
import { host, tell, workflow } from "./job.mjs";

const client = new Client({ api_host: host, WebSocket, fetch });
const resolver = (acc, output, { node_id }) => ({ ...acc, data: { ...acc.data, [node_id]: output } });
const byPolling = process.argv[2] === "polling";
if (!byPolling) await client.connect();
const result = byPolling
  ? await client.enqueue_polling(workflow, { resolver, polling_ms: 200 })
  : await client.enqueue(workflow, { resolver });
tell(Object.fromEntries(Object.entries(result.data ?? {}).map(([id, output]) => [id, output?.images ?? []])));
