"""What changed between two servers or versions: recordings of the same requests in, a changelog of the protocol out.

>>> from comfy_contracts.changelog import changelog
>>> from comfy_contracts.changelog.text import markdown
>>> from comfy_contracts.har import load
>>> found = changelog({"run": load("0.8.0.har")}, {"run": load("0.33.0.har")})  # doctest: +SKIP
>>> print(markdown(found))  # doctest: +SKIP

What the rules of `equivalence` declare free is no change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from comfy_contracts.changelog.http import Answers, http_findings
from comfy_contracts.changelog.model import SECTIONS, Change, Kind, changes_of
from comfy_contracts.changelog.pairing import asked_for, paired
from comfy_contracts.changelog.reading import read_both, versions_of
from comfy_contracts.changelog.sockets import Streams, socket_findings
from comfy_contracts.compare_http import OMITTED
from comfy_contracts.har import Har, of_server

__all__ = ["SECTIONS", "Change", "Changelog", "Kind", "changelog"]


@dataclass(frozen=True)
class Changelog:
    """What changed from one server to another.

    `versions` are those of the two, nothing where the recordings do not tell. `requests` and `sockets` say how many
    were compared. `only_before` and `only_after` count what was asked of one server alone, by route; `not_compared` the
    answers whose bodies a recording leaves out. None of these is a change.
    """

    versions: tuple[str, str]
    changes: tuple[Change, ...]
    requests: int
    sockets: int
    only_before: Mapping[str, int] = field(default_factory=dict)
    only_after: Mapping[str, int] = field(default_factory=dict)
    not_compared: Mapping[str, int] = field(default_factory=dict)


def changelog(before: Mapping[str, Har], after: Mapping[str, Har]) -> Changelog:
    """What changed between the servers of two sets of recordings. Recordings of the same name are compared.

    Browsers' recordings are read like any others (`har.of_server`). Raises `HarError` where a body in one of them
    cannot be decoded.
    """
    old = {name: of_server(har) for name, har in sorted(before.items())}
    new = {name: of_server(har) for name, har in sorted(after.items())}
    answers: list[Answers] = []
    sockets: list[Streams] = []
    only_before, only_after = _unpaired(old, new), _unpaired(new, old)
    for name in old:
        if name in new:
            both = paired(old[name], new[name])
            only_before += both.only_before
            only_after += both.only_after
            more_answers, more_sockets = read_both(name, both.before, both.after)
            answers += more_answers
            sockets += more_sockets
    omitted = Counter(pair.route for pair in answers if OMITTED in (pair.before.body, pair.after.body))
    return Changelog(
        (_version(old), _version(new)),
        changes_of([*http_findings(answers), *socket_findings(sockets)]),
        len(answers),
        len(sockets),
        dict(sorted(only_before.items())),
        dict(sorted(only_after.items())),
        dict(sorted(omitted.items())),
    )


def _unpaired(recordings: Mapping[str, Har], others: Mapping[str, Har]) -> Counter[str]:
    """What was asked for in recordings that the other side does not have."""
    return Counter(asked_for(entry) for name, har in recordings.items() if name not in others for entry in har.entries)


def _version(recordings: Mapping[str, Har]) -> str:
    return ", ".join(sorted({version for har in recordings.values() for version in versions_of(har)}))
