// What every driver shares: the URL and the workflow that it was given.
import { readFileSync } from "node:fs";

export const url = process.env.COMFYUI_URL;
export const host = url.replace("http://", "");
export const workflow = JSON.parse(readFileSync(process.env.COMFYUI_WORKFLOW, "utf8"));
/** The nodes that give pictures. */
export const pictures = Object.keys(workflow).filter((id) => ["SaveImage", "PreviewImage"].includes(workflow[id].class_type));

/** Print what the client got, and leave, whatever timers and sockets it left behind. */
export function tell(outputs) {
  process.stdout.write(`\n${JSON.stringify(outputs)}\n`, () => process.exit(0));
}
