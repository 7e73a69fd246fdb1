"""comfyui-workflow-client: `generate` for all outputs, of `ComfyUIClient` or, with the word `async`, of its twin."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from comfyuiclient import ComfyUIClient, ComfyUIClientAsync
from job import HOST, PATH, PICTURES, tell, title

TITLES = {title(node_id): node_id for node_id in PICTURES}


def blocking() -> dict[str, Any]:
    client = ComfyUIClient(HOST, PATH)
    client.connect()
    results = client.generate(list(TITLES))
    client.close()
    return results


async def asynchronous() -> dict[str, Any]:
    client = ComfyUIClientAsync(HOST, PATH)
    await client.connect()
    results = await client.generate(list(TITLES))
    await client.close()
    return results


results = asyncio.run(asynchronous()) if sys.argv[1:] == ["async"] else blocking()
tell(
    {
        TITLES[name]: [{"width": picture.size[0], "height": picture.size[1]}]
        for name, picture in results.items()
        if name in TITLES
    }
)
