// comfy-ui-client: getImages.
import { ComfyUIClient } from "comfy-ui-client";
import { host, tell, workflow } from "./job.mjs";

const client = new ComfyUIClient(host, "comfy-ui-client");
await client.connect();
const images = await client.getImages(workflow);
tell(Object.fromEntries(Object.entries(images).map(([id, items]) => [id, items.map(({ image }) => image)])));
