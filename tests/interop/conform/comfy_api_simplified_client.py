"""comfy-api-simplified: `queue_and_wait_images`; where there are two outputs, what it does inside, once for both."""

from __future__ import annotations

import asyncio
import hashlib

from comfy_api_simplified import ComfyApiWrapper, ComfyWorkflowWrapper
from job import PATH, PICTURES, URL, tell, title

api = ComfyApiWrapper(f"{URL}/")
workflow = ComfyWorkflowWrapper(PATH)


def named(pictures: dict[str, bytes]) -> list[dict[str, str]]:
    return [{"filename": name, "sha256": hashlib.sha256(data).hexdigest()} for name, data in pictures.items()]


if len(PICTURES) == 1:
    tell({PICTURES[0]: named(api.queue_and_wait_images(workflow, title(PICTURES[0])))})
else:
    prompt_id, _ = asyncio.run(api.queue_prompt_and_wait(workflow))
    outputs = api.get_history(prompt_id)[prompt_id]["outputs"]
    got = {}
    for node_id in PICTURES:
        images = outputs[node_id]["images"]
        got[node_id] = named(
            {image["filename"]: api.get_image(image["filename"], image["subfolder"], image["type"]) for image in images}
        )
    tell(got)
