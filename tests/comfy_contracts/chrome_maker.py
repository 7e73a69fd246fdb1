"""Makes of recorded traffic what Chrome's developer tools save of it.

Written down from knowledge of their source (DevTools' HARLog): fields with underscores, lower-case protocol names,
bodies unpacked though the headers still say gzip, no `_webSocketClose`, a socket's `time` without the time it was open,
`statusText` empty and pseudo headers over HTTP/2.
"""

from __future__ import annotations

import json
from typing import Any

from comfy_contracts.har import Har, dumps

PAGE = "http://127.0.0.1:8188/"


def as_chrome_saves(recording: Har) -> dict[str, Any]:
    """The JSON of a file that Chrome's "Save all as HAR (with sensitive data)" would write of this traffic."""
    entries = []
    for number, entry in enumerate(json.loads(dumps(recording))["log"]["entries"]):
        is_socket = entry.pop("_resourceType", "fetch") == "websocket"
        entry.pop("_webSocketClose", None)
        entry["request"]["httpVersion"] = entry["response"]["httpVersion"] = "http/1.1"
        entry["response"] |= {"_transferSize": 300, "_error": None, "_fetchedViaServiceWorker": False}
        if is_socket:
            entry["time"] = 2.5
        entries.append(
            {
                "_connectionId": str(100 + number),
                "_initiator": {"type": "script", "stack": {"callFrames": []}},
                "_priority": "High",
                "_resourceType": "websocket" if is_socket else "fetch",
                "connection": "8188",
                "pageref": "page_1",
                "serverIPAddress": "127.0.0.1",
                **entry,
                "timings": {
                    "blocked": 1.2,
                    "dns": -1,
                    "connect": -1,
                    "ssl": -1,
                    "send": 0.1,
                    "wait": 1,
                    "receive": 0.2,
                },
            }
        )
    pages = [{"startedDateTime": entries[0]["startedDateTime"], "id": "page_1", "title": PAGE, "pageTimings": {}}]
    return {
        "log": {
            "version": "1.2",
            "creator": {"name": "WebInspector", "version": "537.36"},
            "pages": pages,
            "entries": entries,
        }
    }
