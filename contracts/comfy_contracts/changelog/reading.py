"""Reads the answers and messages of two traffics that have the same requests in the same order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

from msgspec import UNSET

from comfy_contracts.changelog.http import Answers, told_of_system
from comfy_contracts.changelog.names import Pairs
from comfy_contracts.changelog.sockets import Streams
from comfy_contracts.compare import Traffic, leniency_of
from comfy_contracts.compare_http import json_of
from comfy_contracts.compare_ws import Leniency
from comfy_contracts.har import Har


def read_both(name: str, before: Har, after: Har) -> tuple[list[Answers], list[Streams]]:
    """The answers to each request, and what was sent on each socket. `name` is that of the recordings.

    Raises `HarError` where a body cannot be decoded.
    """
    old, new = Traffic.read(before), Traffic.read(after)
    leniency = _of_either(leniency_of(old, new), leniency_of(new, old))
    names = Pairs()
    _learn_what_clients_chose(old, new, names)
    answers = [
        Answers((name, one.index), old_entry, new_entry, one, other, names, leniency.key_order)
        for old_entry, new_entry, one, other in zip(
            before.exchanges(), after.exchanges(), old.softened(leniency), new.softened(leniency), strict=True
        )
    ]
    sockets = [
        Streams.read((name, "socket", one.index), one, other, leniency, names)
        for one, other in zip(old.connections, new.connections, strict=True)
    ]
    return answers, sockets


def _learn_what_clients_chose(old: Traffic, new: Traffic, names: Pairs) -> None:
    for one, other in zip(old.connections, new.connections, strict=True):
        names.agree(one.request, other.request)
    for question, other_question in zip(old.exchanges, new.exchanges, strict=True):
        names.agree(question.request, other_question.request)
        if question.prompt is not None and other_question.prompt is not None:
            names.agree(question.prompt, other_question.prompt)


def _of_either(one: Leniency, other: Leniency) -> Leniency:
    """What is free because of the one traffic or because of the other."""
    return replace(
        one,
        overlap=one.overlap or other.overlap,
        race=one.race or other.race,
        equal_numbers=tuple(dict.fromkeys((*one.equal_numbers, *other.equal_numbers))),
        unordered=one.unordered | other.unordered,
        failed_late=one.failed_late | other.failed_late,
    )


def versions_of(har: Har) -> set[str]:
    """The ComfyUI version of the recorded server, as `GET /system_stats` tells it, or else the recording."""
    told = set(_versions_told(har))
    noted = "" if har.log.comfy is UNSET else har.log.comfy.get("comfyui_version")
    return told or ({str(noted)} if noted else set())


def _versions_told(har: Har) -> Iterator[str]:
    for entry in har.exchanges():
        if urlsplit(entry.request.url).path.endswith("/system_stats"):
            system = told_of_system(json_of(entry.response))
            if isinstance(system.get("comfyui_version"), str):
                yield system["comfyui_version"]
