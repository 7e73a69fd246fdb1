"""The journal of a server: what it was asked, and what it said.

The shells write it, in the server's event loop:

    record = journal.request(at, method, raw_path, query, headers, body, client)  # it came, and its body was read
    record.route = "/prompt"; record.rules += ("flaky",)                          # who serves it
    record.handled(answer)                                                        # the handler has answered
    record.answered(at, status, body)                                             # what was sent; None: broken off

    record = journal.socket(at, connection, client_id); record.closed(at, code)
    journal.event(at, payload, connections)

Everybody may read it, from any thread.
"""

from __future__ import annotations

from comfy_mock.server.assertions import Assertions
from comfy_mock.server.journal_waits import NeverCame, Waits

__all__ = ["Journal", "NeverCame"]


class Journal(Assertions, Waits):
    """What a server was asked, and what it said, in the order in which it happened.

    `requests`, `prompts`, `sockets`, `events` and `holds` are questions to it, `wait_for_…` waits for what is not there
    yet, and `assert_…` claims something of it.
    """
