"""Is the traffic of one server that of another? Compares two HARs under the rules of `equivalence`.

>>> from comfy_contracts.har import load
>>> for difference in compare(load("recorded.har"), load("replayed.har")):  # doctest: +SKIP
...     print(difference)
exchange 3 (GET /history/<id h1.1>) body.<id h1.1>.status.completed: expected true, got false

Ids are shown by where they were first seen: `<id h1.1>` is the first new id of HTTP exchange 1 (counted from 0), `s0` a
message and `w0` the address of socket 0.
"""

from __future__ import annotations

import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from comfy_contracts.canonical import Canon
from comfy_contracts.compare_http import (
    Exchange,
    compare_exchanges,
    queued_number,
    read_exchanges,
    without_order_of_outputs,
    without_results,
)
from comfy_contracts.compare_ws import (
    Connection,
    Leniency,
    Message,
    compare_connections,
    cut_runs,
    read_connections,
)
from comfy_contracts.difference import Difference
from comfy_contracts.equivalence import RACE_S
from comfy_contracts.har import Har


def compare(expected: Har, got: Har) -> list[Difference]:
    """Every difference between a recording and another traffic made with the same requests; none: they are equal.

    Raises `HarError` where a body in one of them cannot be decoded.
    """
    return Traffic.read(expected).compare(Traffic.read(got)).differences


@dataclass(frozen=True)
class Comparison:
    """What came of comparing two traffics.

    `compared` says how much each check of `equivalence.CHECKS` had to compare; `freed` how often each rule took
    something away in the recording, by the rule's name.
    """

    differences: list[Difference]
    compared: dict[str, int]
    freed: dict[str, int]


@dataclass(frozen=True)
class Traffic:
    """A HAR without what is free.

    `orders` has the outputs of a prompt in the order in which the server ran them, where queue or history tell it.
    """

    exchanges: list[Exchange]
    connections: list[Connection]
    orders: dict[str, list[str]]
    freed: dict[str, int]

    def compare(self, got: Traffic) -> Comparison:
        """How another traffic, made with the same requests, differs from this one, which was recorded."""
        leniency = leniency_of(self, got)
        differences = [
            *compare_exchanges(self.softened(leniency), got.softened(leniency), key_order=leniency.key_order),
            *compare_connections(self.connections, got.connections, leniency),
        ]
        streams = Counter({name: 1 for name, applies in _stream_rules(self, leniency).items() if applies})
        return Comparison(differences, _amounts(self), {**self.freed, **streams})

    @classmethod
    def read(cls, har: Har) -> Traffic:
        """The traffic of a HAR. Raises `HarError` where a body in it cannot be decoded."""
        entries, sockets = list(har.exchanges()), list(har.sockets())
        canon = Canon(har)
        for index, socket in enumerate(sockets):
            # Client ids are named after their sockets, wherever else they show up.
            canon.at(f"w{index}")
            canon.text(socket.request.url)
        numbers = [number for number in map(queued_number, entries) if number is not None]
        exchanges = read_exchanges(entries, canon, equal_numbers=len(numbers) != len(set(numbers)))
        orders = {canon.text(prompt): order for exchange in exchanges for prompt, order in _orders(exchange.value)}
        return cls(exchanges, read_connections(sockets, canon), orders, canon.freed)

    def softened(self, leniency: Leniency) -> list[Exchange]:
        """The exchanges without what another order of outputs changes in them."""

        def after_first(prompts: frozenset[str]) -> int:
            return min((one.index for prompt, one in self.posted.items() if prompt in prompts), default=sys.maxsize)

        reordered, failed = after_first(leniency.reordered), after_first(leniency.failed_late)

        def soften(one: Exchange) -> Exchange:
            if one.index > failed:
                return without_results(one)
            return without_order_of_outputs(one) if one.index > reordered else one

        return [soften(one) for one in self.exchanges]

    @property
    def posted(self) -> dict[str, Exchange]:
        """The exchanges that queued a prompt, by its name."""
        return {exchange.prompt: exchange for exchange in self.exchanges if exchange.prompt is not None}

    @property
    def messages(self) -> Iterator[Message]:
        """All messages of all sockets."""
        return (message for connection in self.connections for message in connection.messages)

    @property
    def failed(self) -> set[str]:
        """The prompts that ended in an error."""
        return {
            message.prompt
            for message in self.messages
            if message.kind == "execution_error" and message.prompt is not None
        }


def _orders(value: Any) -> Iterator[tuple[str, list[str]]]:
    """The prompt id and outputs of every queue item in an answer: [number, id, graph, extra data, outputs]."""
    if isinstance(value, dict):
        for item in value.values():
            yield from _orders(item)
    elif isinstance(value, list):
        if [type(item) for item in value[1:5]] == [str, dict, dict, list]:
            yield value[1], value[4]
        else:
            for item in value:
                yield from _orders(item)


def leniency_of(expected: Traffic, got: Traffic) -> Leniency:
    """Which stream rules apply to a recorded traffic and one that is compared with it."""
    known = expected.orders.keys() & got.orders.keys()
    reordered = frozenset(
        prompt
        for prompt in known
        if expected.orders[prompt] != got.orders[prompt]
        and sorted(expected.orders[prompt]) == sorted(got.orders[prompt])
    )
    posted = expected.posted
    failed = [posted[prompt].index for prompt in reordered & (expected.failed | got.failed) if prompt in posted]
    return Leniency(
        overlap=any(
            message.queue_remaining > 1 or message.kind == "execution_interrupted" for message in expected.messages
        ),
        race=_has_race(expected),
        equal_numbers=_equal_numbers(expected),
        reordered=reordered,
        unordered=frozenset(prompt for prompt, one in posted.items() if one.several and prompt not in known),
        failed_late=frozenset(prompt for prompt, one in posted.items() if failed and one.index >= min(failed)),
    )


def _stream_rules(expected: Traffic, leniency: Leniency) -> dict[str, bool]:
    return {
        "untold close": any(connection.close is None for connection in expected.connections),
        "failed in another order": bool(leniency.failed_late),
        "cut run": any(cut_runs(connection.messages) for connection in expected.connections),
        "equal numbers": bool(leniency.equal_numbers),
        "other order of outputs": bool(leniency.reordered),
        "overlap": leniency.overlap,
        "race": leniency.race,
    }


def _amounts(traffic: Traffic) -> dict[str, int]:
    exchanges, connections = len(traffic.exchanges), len(traffic.connections)
    return {
        "requests": exchanges,
        "statuses": exchanges,
        "headers": sum(len(exchange.headers) for exchange in traffic.exchanges),
        "JSON form": sum(exchange.value is not None for exchange in traffic.exchanges),
        "bodies": exchanges - traffic.freed.get("omitted body", 0),
        "sockets": connections,
        "messages": sum(len(connection.messages) for connection in traffic.connections),
        "closing": sum(connection.close is not None for connection in traffic.connections),
    }


def _equal_numbers(traffic: Traffic) -> tuple[tuple[str, ...], ...]:
    groups: defaultdict[float | None, list[str]] = defaultdict(list)
    for prompt, exchange in traffic.posted.items():
        groups[exchange.number].append(prompt)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def _has_race(traffic: Traffic) -> bool:
    """Rule "race": does the queue get shorter by itself within a second after a prompt was posted behind another?"""
    drops = sorted(drop for connection in traffic.connections for drop in _drops(connection))
    for posted in traffic.posted.values():
        moment, length = next((drop for drop in drops if drop[0] > posted.started), (math.inf, 0))
        caused = any(posted.started < one.started < moment and _changes_queue(one) for one in traffic.exchanges)
        if length > 1 and moment - posted.started < RACE_S and not caused:
            return True
    return False


def _drops(connection: Connection) -> Iterator[tuple[float, int]]:
    """When a socket was told that the queue had become shorter, and its length before that."""
    length = 0
    for message in connection.messages:
        if message.kind == "status":
            if message.queue_remaining < length:
                yield message.time, length
            length = message.queue_remaining


def _changes_queue(exchange: Exchange) -> bool:
    """Whether the request takes prompts out of the queue, or interrupts the running one."""
    path = exchange.request.partition("?")[0]
    return path.startswith("POST ") and path.endswith(("/interrupt", "/queue", "/cancel"))
