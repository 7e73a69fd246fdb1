"""A changelog overlooks nothing that is not free, and the other way round it says the opposite."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traffic_maker import exchange, har, message, queued, socket

from comfy_contracts import jsontext
from comfy_contracts.changelog import Change, Changelog, changelog
from comfy_contracts.compare import Traffic, compare
from comfy_contracts.har import Har, load, packaged_recordings
from comfy_contracts.mutations_made import Mutation, mutations_of

RECORDINGS = packaged_recordings("0.33.0")
SMALL = ("image_only", "interrupt_nothing_running", "two_sockets_same_client_id")
MIRRORED = {"added": "removed", "removed": "added"}

# What a request was answered is compared with what the same request was, wherever it stands: a request that is lost,
# doubled or put elsewhere is no change of an answer.
OF_REQUESTS = {"entry missing", "entry doubled", "entries swapped"}


def between(before: Har, after: Har) -> Changelog:
    return changelog({"run": before}, {"run": after})


def told(change: Change) -> tuple[Any, ...]:
    return (change.section, change.kind, change.where, change.what, sorted(change.values), change.count, change.unit)


def opposite(change: Change) -> tuple[Any, ...]:
    values = sorted((after, before) for before, after in change.values)
    kind = MIRRORED.get(change.kind, change.kind)
    return (change.section, kind, change.where, change.what, values, change.count, change.unit)


def check_both_ways(before: Har, after: Har) -> Changelog:
    """What has changed, after seeing that the opposite has changed the other way round."""
    there, back = between(before, after), between(after, before)
    if any(change.what == "message type" for change in there.changes):
        # What else has changed in renamed messages is told under the name that they had before, either way.
        assert len(there.changes) == len(back.changes)
    else:
        assert sorted(map(opposite, there.changes), key=repr) == sorted(map(told, back.changes), key=repr)
    assert (there.only_before, there.only_after) == (back.only_after, back.only_before)
    assert there.not_compared == back.not_compared
    return there


class World:
    """A recording and all changes of one field that can be made to it."""

    def __init__(self, name: str) -> None:
        self.recording = load(RECORDINGS[name])
        self._value = self.recording.to_builtins()
        made = mutations_of(self._value, Traffic.read(self.recording))
        self.mutations = [mutation for mutation in made if mutation.kind not in OF_REQUESTS]

    def spoiled(self, mutation: Mutation) -> Har:
        undo = mutation.make()
        try:
            return Har.from_builtins(self._value)
        finally:
            undo()


world = functools.cache(World)


@pytest.mark.parametrize("name", SMALL)
@settings(max_examples=max(1, settings().max_examples // 8))  # each compares whole recordings, twice
@given(data=st.data())
def test_every_change_of_a_recording_is_told_unless_it_is_free(name: str, data: st.DataObject) -> None:
    recorded = world(name)
    kind = data.draw(st.sampled_from(sorted({mutation.kind for mutation in recorded.mutations})))
    mutation = data.draw(st.sampled_from([one for one in recorded.mutations if one.kind == kind]))
    spoiled = recorded.spoiled(mutation)

    found = check_both_ways(recorded.recording, spoiled)

    # A change may itself be such that a stream rule applies, which then frees it: what frees one side frees both.
    same = [compare(*sides) == [] for sides in ((recorded.recording, spoiled), (spoiled, recorded.recording))]
    assert found.changes or any(same)
    assert not found.changes or not all(same)


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.sampled_from([0.0, -0.0, 1.0, 2.5])
    | st.text("ab<`", max_size=3)
)
keys = st.sampled_from(["a", "b", "c d", "1", "outputs", "nodes"])
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=12
)


@given(values, values)
def test_two_bodies(before: Any, after: Any) -> None:
    headers = {"Content-Type": "application/json"}
    worlds = [har(exchange(answer=jsontext.dumps(one), headers=headers)) for one in (before, after)]
    found = check_both_ways(*worlds)
    assert (found.changes == ()) == (jsontext.dumps(before) == jsontext.dumps(after))


kinds = st.sampled_from(["execution_start", "executing", "executed", "custom"])
streams = st.lists(
    st.builds(lambda kind, data: message(kind, **data), kinds, st.dictionaries(st.sampled_from("ab"), scalars)),
    max_size=6,
)


@given(streams, streams)
def test_two_streams(before: list[Any], after: list[Any]) -> None:
    worlds = [
        har(queued(), socket(*((1 + at, one) for at, one in enumerate(side)), at=0.5)) for side in (before, after)
    ]
    found = check_both_ways(*worlds)
    if before == after and jsontext.dumps(before) == jsontext.dumps(after):
        assert found.changes == ()
    if [one["type"] for one in before] != [one["type"] for one in after]:
        assert found.changes
