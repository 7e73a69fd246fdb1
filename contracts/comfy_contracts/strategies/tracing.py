"""Legal event traces of a prompt: all that a real server could say of it (protocol 5, 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from comfy_contracts import frames, messages
from comfy_contracts.catalogue import Catalogue, NodeDefinition
from comfy_contracts.strategies.constants import options_of
from comfy_contracts.strategies.order import Pending, cache_key, links
from comfy_contracts.strategies.telling import Ending, Teller, Trace

Draw = Callable[[st.SearchStrategy[Any]], Any]

CLIENT_ID = "0123456789abcdef0123456789abcdef"
ENDINGS: tuple[Ending, ...] = ("success", "error", "interrupted")

_SELDOM = st.sampled_from([False, False, False, True])
_NEVER_CACHED = "SaveImageWebsocket"
_OUT_OF_MEMORY = (
    "This error means you ran out of memory on your GPU.\n\n"
    "TIPS: If the workflow worked before you might have accidentally set the batch_size to a large number."
)
_ERRORS = st.sampled_from(
    [("ValueError", "bad latent\n"), ("RuntimeError", "\n"), ("torch.OutOfMemoryError", _OUT_OF_MEMORY)]
)


def traces(
    prompt: Mapping[str, Any],
    catalogue: Catalogue | None = None,
    *,
    endings: Iterable[Ending] = ENDINGS,
    cached: bool = True,
    expansions: bool = True,
    blockers: bool = True,
    progress: bool = True,
    metadata: bool = False,
    client_id: str = CLIENT_ID,
    prompt_id: str | None = None,
) -> st.SearchStrategy[Trace]:
    """What a server can tell the client of `prompt`, a valid prompt over `catalogue` (the packaged one by default).

    The outputs come in any order, for that depends on the server process, and nodes in the order of protocol 5.4. With
    `cached`, any part of the prompt may be answered from the cache, or all of it. A node may fail, or be interrupted,
    as `endings` allow; a run in which nothing is left to fail ends well all the same. With `expansions` nodes may put
    others in their place, with `blockers` they may block those behind them, and with `progress` they have steps,
    previews and texts. `metadata` says whether the client asked for previews with metadata. The prompt's id is drawn if
    `prompt_id` does not say it.

        @given(prompts().flatmap(traces))

    Raises `ValueError` where there is no ending, and where a node is of a class that the catalogue does not have.
    """
    catalogue = Catalogue.packaged() if catalogue is None else catalogue
    ends = tuple(endings)
    if not ends:
        raise ValueError(f"a run ends in one of these ways: {', '.join(ENDINGS)}")
    for node_id, node in prompt.items():
        if node.get("class_type") not in catalogue:
            raise ValueError(
                f"node {node_id} is of a class that the catalogue does not have: {node.get('class_type')!r}"
            )
    habits = _Habits(ends, cached, expansions, blockers, progress, metadata)
    return _traces(dict(prompt), catalogue, habits, client_id, prompt_id)


@dataclass(frozen=True)
class _Habits:
    """What may happen in a run."""

    endings: tuple[Ending, ...]
    cached: bool
    expansions: bool
    blockers: bool
    progress: bool
    metadata: bool


@st.composite
def _traces(
    draw: Draw, prompt: dict[str, Any], catalogue: Catalogue, habits: _Habits, client_id: str, prompt_id: str | None
) -> Trace:
    chosen_id = str(draw(st.uuids(version=4))) if prompt_id is None else prompt_id
    outputs = [node_id for node_id, node in prompt.items() if catalogue[node["class_type"]].output_node]
    order = draw(st.permutations(outputs))
    others = draw(st.integers(0, 2))
    teller = Teller(chosen_id, habits.metadata, now=draw(st.integers(1_700_000_000_000, 1_800_000_000_000)))
    teller.status(others + 1)
    teller.status(others + 1)
    run = _Run(draw, prompt, catalogue, habits, teller)
    ending = run.tell(order)
    teller.status(others)
    teller.say(messages.Executing(None, prompt_id=chosen_id))
    number = draw(st.integers(-3, 1000))
    good = ending == "success"
    entry = {
        "prompt": [number, chosen_id, prompt, {"client_id": client_id, "create_time": teller.now - 5}, order],
        "outputs": teller.outputs,
        "status": {"status_str": "success" if good else "error", "completed": good, "messages": teller.log},
        "meta": teller.meta,
    }
    return Trace(prompt, chosen_id, client_id, ending, teller.payloads, entry, run.cached, run.begun)


def _ui(node_id: str) -> st.SearchStrategy[dict[str, Any]]:
    """What a node shows: pictures, texts, or what custom nodes think of."""
    name = node_id.replace(".", "-")
    files = st.integers(1, 2).map(
        lambda count: [
            {"filename": f"{name}_{number:05}_.png", "subfolder": "", "type": "output"}
            for number in range(1, count + 1)
        ]
    )
    return st.one_of(
        st.fixed_dictionaries({"images": files}),
        st.fixed_dictionaries({"images": files, "animated": st.just([True])}),
        st.just({"text": [f"text of {node_id}"]}),
        st.just({"own": [1, None, {"a": "ü"}]}),
    )


class _End(Exception):
    """The run is over before all nodes had their turn."""


class _Run:
    """One run of a prompt, in which what is not certain is drawn."""

    def __init__(
        self, draw: Draw, prompt: dict[str, Any], catalogue: Catalogue, habits: _Habits, teller: Teller
    ) -> None:
        self._draw, self._prompt, self._catalogue = draw, prompt, catalogue
        self._habits, self._teller = habits, teller
        self._nodes: dict[str, Any] = dict(prompt)
        self._children_outputs: set[str] = set()
        self._keys = {node_id: cache_key(prompt, node_id, self._has_own_id) for node_id in prompt}
        self._results: dict[str, dict[str, Any] | None] = {}
        """What nodes with a key show, by key, once they have run, or from the start."""
        self._blocking: dict[str, str | None] = {}
        """Nodes that give a blocker, with its message; None where it was told already."""
        self._expanded: set[str] = set()
        self._wanted: dict[str, list[str]] = {}
        """Which sources nodes with lazy inputs have asked for."""
        self._ran: list[str] = []
        self._pending = Pending(
            self._nodes,
            is_cached=lambda node_id: self._key(node_id) in self._results,
            is_output=self._is_output,
            goes_first=lambda node_id: self._is_output(node_id) or self._is_async(node_id),
            is_lazy=self._is_lazy,
        )
        self.begun: list[str] = []
        self.cached: list[str] = []

    # -- what is known of nodes

    def _definition(self, node_id: str) -> NodeDefinition:
        return self._catalogue[self._prompt[self._teller.real(node_id)]["class_type"]]

    def _is_output(self, node_id: str) -> bool:
        if node_id in self._prompt:
            return self._definition(node_id).output_node
        return node_id in self._children_outputs

    def _is_async(self, node_id: str) -> bool:
        return node_id in self._prompt and self._definition(node_id).api_node

    def _is_lazy(self, node_id: str, name: str) -> bool:
        if node_id not in self._prompt:
            return False
        definition = self._definition(node_id)
        spec = definition.required.get(name) or definition.optional.get(name)
        return spec is not None and bool(options_of(spec).get("lazy"))

    def _has_own_id(self, node_id: str) -> bool:
        definition = self._definition(node_id)
        is_unique = "UNIQUE_ID" in definition.hidden.values() and not definition.is_v3
        return is_unique or definition.class_type == _NEVER_CACHED

    def _key(self, node_id: str) -> str:
        return self._keys.get(node_id, node_id)

    # -- the run

    def tell(self, order: list[str]) -> Ending:
        """Tell it all, from `execution_start` to the message of its end."""
        teller = self._teller
        teller.report(messages.ExecutionStart(**teller.stamp()))
        if self._habits.cached:
            self._fill_cache()
        teller.report(messages.ExecutionCached(self.cached, **teller.stamp()))
        for node_id in order:
            self._pending.add(node_id)
        ending: Ending = self._draw(st.sampled_from(self._habits.endings))
        turns_left = None if ending == "success" else self._draw(st.integers(0, len(self._prompt)))
        try:
            while self._pending:
                node_id = self._pending.pick()
                if self._turn(node_id, None if turns_left != 0 else ending) and turns_left:
                    turns_left -= 1
        except _End:
            return ending
        self._show_intermediate()
        teller.report(messages.ExecutionSuccess(**teller.stamp()))
        return "success"

    def _fill_cache(self) -> None:
        """Let an earlier run have left the results of some nodes, and of all that these need."""
        everything = self._draw(_SELDOM)
        left: dict[str, bool] = {}

        def decide(node_id: str) -> bool:
            if node_id not in left:
                left[node_id] = False
                sources = [decide(source) for _name, source, _slot in links(self._nodes[node_id])]
                key, class_type = self._key(node_id), self._prompt[node_id]["class_type"]
                if key in self._results:
                    left[node_id] = True
                elif all(sources) and class_type != _NEVER_CACHED and (everything or self._draw(st.booleans())):
                    left[node_id] = True
                    self._results[key] = self._draw(_ui(node_id)) if self._shows(node_id) else None
            return left[node_id]

        for node_id in self._prompt:
            decide(node_id)
        self.cached = [node_id for node_id in self._prompt if self._key(node_id) in self._results]

    def _shows(self, node_id: str) -> bool:
        """Whether a node has something to show; others than output nodes seldom have."""
        return bool(self._draw(st.booleans() if self._is_output(node_id) else _SELDOM))

    def _turn(self, node_id: str, ending: Ending | None) -> bool:
        """A node's turn, in which the run may end so. Whether the node was called in it."""
        teller, key = self._teller, self._key(node_id)
        if node_id in self._expanded:
            self._done(node_id, None)
            return False
        if key in self._results:
            teller.executed(node_id, self._results[key])
            teller.state(node_id, 1, 1, "finished")
            self._pending.done(node_id)
            return False
        teller.state(node_id, 0.0, 1.0)
        teller.executing(node_id)
        self.begun.append(node_id)
        if self._asks_for_more(node_id):
            return False
        if self._is_blocked(node_id):
            self._done(node_id, None)
            return False
        if ending is not None and (ending == "error" or self._draw(st.booleans())):
            self._steps(node_id, ends=True)
            self._end(node_id, ending)
        if ending is not None:
            # one that never looks is done before the interruption hits the next one
            self._finish(node_id)
            return False
        self._steps(node_id, ends=False)
        if self._habits.expansions and node_id in self._prompt and not self._is_output(node_id) and self._draw(_SELDOM):
            self._expand(node_id)
        else:
            self._finish(node_id)
        return True

    def _finish(self, node_id: str) -> None:
        ui = self._draw(_ui(node_id)) if self._shows(node_id) else None
        if ui is not None:
            self._teller.executed(node_id, ui)
        if self._habits.blockers and node_id in self._prompt and not self._is_output(node_id) and self._draw(_SELDOM):
            self._blocking[self._key(node_id)] = self._draw(st.sampled_from(["not today", None]))
        self._done(node_id, ui)

    def _done(self, node_id: str, ui: dict[str, Any] | None) -> None:
        self._teller.finish(node_id)
        self._results[self._key(node_id)] = ui
        self._ran.append(node_id)
        self._pending.done(node_id)

    def _asks_for_more(self, node_id: str) -> bool:
        """Whether a node that has lazy inputs wants some of them first: then its turn starts anew later."""
        lazy = [source for name, source, _slot in links(self._nodes[node_id]) if self._is_lazy(node_id, name)]
        if not lazy or node_id in self._wanted:
            return False
        wanted = self._wanted[node_id] = [source for source in lazy if self._draw(st.booleans())]
        for source in wanted:
            if self._key(source) not in self._results:
                self._pending.add(source)
            self._pending.block(source, node_id)
        return bool(wanted)

    def _is_blocked(self, node_id: str) -> bool:
        """Whether a node gets a blocker: then it is not called, and passes it on without its message."""
        found = [
            self._blocking[self._key(source)]
            for name, source, _slot in links(self._nodes[node_id])
            if self._key(source) in self._blocking
            and (not self._is_lazy(node_id, name) or source in self._wanted.get(node_id, ()))
        ]
        if not found:
            return False
        told = next((message for message in found if message is not None), None)
        if told is not None:
            node_type = self._prompt[self._teller.real(node_id)]["class_type"]
            self._teller.blocked(node_id, node_type, list(self._ran), told)
        self._blocking[self._key(node_id)] = None
        return True

    def _steps(self, node_id: str, *, ends: bool) -> None:
        """What a node says while it works, up to where it ends before its time."""
        if not self._habits.progress:
            return
        draw, teller = self._draw, self._teller
        if draw(_SELDOM):
            teller.say(frames.TextFrame(node_id, draw(st.sampled_from(["", "width: 8, height: 8", "läuft"]))))
        steps = draw(st.integers(0, 4))
        reached = draw(st.integers(0, steps)) if ends else steps
        previews = bool(steps) and draw(st.booleans())
        for step in range(1, reached + 1):
            # without previews those between the first and the last come as time allows
            if previews or step in (1, steps) or draw(st.booleans()):
                teller.update(node_id, step, steps, preview=previews)

    def _expand(self, node_id: str) -> None:
        """Put two nodes in its place, the second of which, maybe an output, gives what the node gives."""
        first, second = f"{node_id}.0.0.1", f"{node_id}.0.0.2"
        self._nodes[first] = {"class_type": "", "inputs": {}}
        self._nodes[second] = {"class_type": "", "inputs": {"in": [first, 0]}}
        for child in (first, second):
            self._teller.displays[child] = self._teller.parents[child] = node_id
        if self._draw(st.booleans()):
            self._children_outputs.add(second)
        self._expanded.add(node_id)
        self._pending.add(second)
        self._pending.block(second, node_id)

    def _end(self, node_id: str, ending: Ending) -> None:
        teller, real = self._teller, self._teller.real(node_id)
        node_type = self._prompt[real]["class_type"]
        where = {"node_id": real, "node_type": node_type, "executed": list(self._ran), **teller.stamp()}
        if ending == "interrupted":
            teller.report(messages.ExecutionInterrupted(**where))
            raise _End
        kind, text = self._draw(_ERRORS)
        constants = {
            name: [value] for name, value in self._nodes[node_id]["inputs"].items() if not isinstance(value, list)
        }
        teller.report(
            messages.ExecutionError(
                **where,
                exception_message=text,
                exception_type=kind,
                traceback=['  File "<path>", line 1, in <function>\n    raise\n'],
                current_inputs=constants,
                current_outputs=list(self._nodes),
            )
        )
        raise _End

    def _show_intermediate(self) -> None:
        """What cached nodes of certain classes show though they had no turn (protocol 5.15)."""
        for node_id in self.cached:
            ui = self._results[self._key(node_id)]
            if (
                ui is not None
                and self._definition(node_id).has_intermediate_output
                and node_id not in self._teller.outputs
            ):
                self._teller.executed(node_id, ui)
