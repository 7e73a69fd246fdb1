"""How much of a recording does the comparison look at? Spoils every field of it, and sees whether that is noticed.

    python -m comfy_contracts.mutations              # the packaged recordings, every field
    python -m comfy_contracts.mutations --sample 50  # of each recording and kind of change 50, chosen by chance

A change of what a rule of `equivalence` declares free is counted, not made. All others should be noticed.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from comfy_contracts.compare import Traffic
from comfy_contracts.equivalence import TEXT_RULES
from comfy_contracts.har import Har, load, packaged_recordings
from comfy_contracts.mutations_made import Mutation, mutations_of

_BATCHES = 8
_ID = re.compile(next(rule.pattern for rule in TEXT_RULES if rule.name == "id"))
_NAMED_ID = re.compile(r"<id [^>]*>")
_MISSED_SHOWN = 40


@dataclass
class Tally:
    """How many changes of each kind were made and noticed, how many were left out as free, and which were missed."""

    made: Counter[str] = field(default_factory=Counter)
    noticed: Counter[str] = field(default_factory=Counter)
    free: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Noticed of made, from 0 to 1; 1 where none were made."""
        return self.noticed.total() / self.made.total() if self.made else 1.0

    def add(self, other: Tally) -> None:
        """Count in what another one has."""
        self.made += other.made
        self.noticed += other.noticed
        self.free += other.free
        self.missed += other.missed

    def lines(self) -> list[str]:
        """The figures as a table for people, and what was missed."""
        rows = [f"{'change':<28}{'made':>8}{'noticed':>9}{'share':>9}{'declared free':>15}"]
        for kind in sorted({*self.made, *self.free}):
            made, noticed = self.made[kind], self.noticed[kind]
            share = f"{noticed / made:>9.2%}" if made else f"{'-':>9}"
            rows.append(f"{kind:<28}{made:>8}{noticed:>9}{share}{self.free[kind]:>15}")
        total = f"{self.made.total():>8}{self.noticed.total():>9}{self.share:>9.2%}{self.free.total():>15}"
        rows.append(f"{'all':<28}{total}")
        rows += [f"not noticed: {what}" for what in self.missed[:_MISSED_SHOWN]]
        if len(self.missed) > _MISSED_SHOWN:
            rows.append(f"… and {len(self.missed) - _MISSED_SHOWN} more")
        return rows


def examine(name: str, har: Har, *, sample: int | None = None, seed: int = 0) -> Tally:
    """Spoil the fields of one recording, and count what is noticed.

    `sample` limits how many changes of each kind are made, chosen by chance with `seed`. Raises `HarError` where the
    recording cannot be read.
    """
    world = har.to_builtins()
    original = Traffic.read(har)
    tally = Tally()
    chosen = []
    for mutation in _chosen(mutations_of(world, original), sample, random.Random(f"{seed} {name}")):
        if mutation.free:
            tally.free[mutation.kind] += 1
        else:
            chosen.append(mutation)
    for mutation, noticed in _tried(chosen, world, original):
        tally.made[mutation.kind] += 1
        tally.noticed[mutation.kind] += noticed
        if not noticed:
            tally.missed.append(f"{name}: {mutation.kind}: {mutation.what}")
    return tally


def _chosen(mutations: Iterable[Mutation], sample: int | None, chance: random.Random) -> Iterator[Mutation]:
    if sample is None:
        yield from mutations
        return
    groups: defaultdict[str, list[Mutation]] = defaultdict(list)
    for mutation in mutations:
        groups[mutation.kind].append(mutation)
    for group in groups.values():
        yield from chance.sample(group, min(sample, len(group)))


def _tried(mutations: Sequence[Mutation], world: object, original: Traffic) -> Iterator[tuple[Mutation, bool]]:
    """Each mutation, and whether it was noticed. Those that show at places of their own are made some at a time."""
    together = [mutation for mutation in mutations if mutation.where]
    alone = [mutation for mutation in mutations if not mutation.where]
    for batch in _batches(together):
        told = {_plain(where) for where in _told(batch, world, original)}
        for mutation in batch:
            if _is_told(_plain(mutation.where), told):
                yield mutation, True
            else:
                alone.append(mutation)
    for mutation in alone:
        yield mutation, bool(_told([mutation], world, original))


def _batches(mutations: Sequence[Mutation]) -> Iterator[list[Mutation]]:
    """The mutations in groups that can be made at the same time."""
    anywhere = [mutation for mutation in mutations if not mutation.text]
    yield from (batch for batch in (anywhere[start::_BATCHES] for start in range(_BATCHES)) if batch)
    texts: defaultdict[str, list[Mutation]] = defaultdict(list)
    for mutation in mutations:
        if mutation.text:
            texts[mutation.text].append(mutation)
    for row in zip_longest(*texts.values()):
        yield [mutation for mutation in row if mutation is not None]


def _told(mutations: Sequence[Mutation], world: object, original: Traffic) -> list[str]:
    """Where the comparison finds differences once the mutations are made; afterwards they are undone."""
    undo = [mutation.make() for mutation in mutations]
    try:
        spoiled = Traffic.read(Har.from_builtins(world))
        return [difference.where for difference in original.compare(spoiled).differences]
    finally:
        for back in reversed(undo):
            back()


def _plain(where: str) -> str:
    """A place without the names of ids in it: the comparison names them, a mutation has them as recorded."""
    where = _ID.sub("ID", _NAMED_ID.sub("ID", where))
    return re.sub(r"^((?:exchange|socket) \d+(?: message \d+)?) \(.*?\)(?= |\.|\[|$)", r"\1", where)


def _is_told(where: str, told: set[str]) -> bool:
    return any(one.startswith(where) and one[len(where) :][:1] in ("", ".", "[", " ") for one in told)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: prints the figures, and returns 1 where a change went unnoticed, else 0."""
    parser = argparse.ArgumentParser(prog="python -m comfy_contracts.mutations", description=__doc__)
    parser.add_argument("names", nargs="*", help="recordings; all where none is named")
    parser.add_argument("--version", default="0.33.0", help="the ComfyUI version of the packaged recordings")
    parser.add_argument("--sample", type=int, metavar="N", help="make N changes of each kind in each recording")
    parser.add_argument("--seed", type=int, default=0, help="which ones --sample chooses")
    given = parser.parse_args(arguments)
    recordings = packaged_recordings(given.version)
    unknown = [name for name in given.names if name not in recordings]
    if unknown:
        parser.error(f"no such recording: {', '.join(unknown)}")
    total = Tally()
    for name in given.names or recordings:
        tally = examine(name, load(recordings[name]), sample=given.sample, seed=given.seed)
        sys.stderr.write(f"{name}: {tally.noticed.total()} of {tally.made.total()}\n")
        total.add(tally)
    sys.stdout.write("\n".join(total.lines()) + "\n")
    return int(bool(total.missed))


if __name__ == "__main__":
    sys.exit(main())
