"""comfy-cli: `comfy run --wait --json`, with a time limit of ten seconds for a WebSocket that is silent."""

from __future__ import annotations

import json
import subprocess
import sys

from job import HOST, PATH, tell

host, port = HOST.split(":")
command = [sys.executable, "-m", "comfy_cli", "--skip-prompt", "run", "--workflow", PATH, "--wait", "--json"]
done = subprocess.run(
    [*command, "--host", host, "--port", port, "--timeout", "10"], stdout=subprocess.PIPE, text=True, encoding="utf-8"
)
events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
last = events[-1] if events else {}
if done.returncode:
    if last.get("error"):
        tell({"error": last["error"]["message"]})
    sys.exit(done.returncode)
outputs = {event["node"]: event["outputs"] for event in events if event["type"] == "executed"}
keys = ("filename", "subfolder", "type")
tell({node: [{key: item[key] for key in keys} for item in items] for node, items in outputs.items() if items})
