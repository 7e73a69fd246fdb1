"""A script at work: which rule fits, how often each was used, and what is held."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from comfy_mock.engine.script.matching import Difference, NodeSubject, Subject, differences, node_differences
from comfy_mock.engine.script.model import AnyRule, ModelChange, NodeRule, Point, PointRule, Script


@dataclass(eq=False)
class RuleUse:
    """A rule, and what became of it.

    `fits` counts what it fitted, `served` what it was used for, and `waiting` those of them where it has yet to do
    something: a WebSocket that is to be closed at an event, say. `label` is its name, or says which of the rules it is.

    `nearest` is what it missed by the fewest differences, and these; None where nothing of its kind came. `hidden_by`
    is the rule that was asked first, and took what this one would have fitted.
    """

    rule: AnyRule
    fits: int = 0
    served: int = 0
    waiting: int = 0
    nearest: tuple[Subject, list[Difference]] | None = None
    label: str = ""
    hidden_by: RuleUse | None = None

    @property
    def spent(self) -> bool:
        """Whether it has served all its times."""
        return self.rule.times is not None and self.served >= self.rule.times

    @property
    def unused(self) -> bool:
        """Whether it should have been used, and was not."""
        return self.served == self.waiting and not self.rule.optional and self.rule.times != 0

    def missed(self, subject: Subject, found: list[Difference]) -> None:
        """It did not fit this."""
        if self.nearest is None or len(found) < len(self.nearest[1]):
            self.nearest = (subject, found)


@dataclass(eq=False)
class Gate:
    """Something that is held until it is `opened`, and `what` that is. `on_open` are called once, when it is."""

    name: str
    what: str = ""
    opened: bool = False
    on_open: list[Callable[[], None]] = field(default_factory=list)

    def open(self) -> None:
        """Let go of what is held."""
        if not self.opened:
            self.opened = True
            for callback in self.on_open:
                callback()


class Director:
    """The rules of a server and their state. Rules may be added and removed at any time.

    All of it outlives the engine when the server restarts: `prompts_accepted` counts the prompts that rules know by
    their place, `model_changes` are those that were made so far, and while it is `paused` no prompt is taken.
    `on_open` is called after holds were released: somebody must look at the engine then.
    """

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.on_open: Callable[[], None] = lambda: None
        self.on_held: Callable[[Gate], None] | None = None
        self._uses: list[RuleUse] = []
        self._gates: list[Gate] = []
        self._kinds: set[type] = set()
        self._added = 0
        self.known_holds: set[str] = set()
        """The names of all that rules held or may hold, also of those that are gone."""
        self.prompts_accepted = 0
        self.paused = self.script.queue_paused
        self.model_changes: list[ModelChange] = []
        self._models_to_change = sorted(self.script.models, key=lambda change: change.after_prompts)
        self.add(*self.script.rules)

    # -- rules

    @property
    def uses(self) -> list[RuleUse]:
        """The rules in the order in which they are asked, each with its use."""
        return list(self._uses)

    def add(self, *rules: AnyRule) -> None:
        """Append rules; each stands behind those of its own or a higher priority."""
        self.known_holds |= hold_names(rules)
        for rule in rules:
            self._uses.append(RuleUse(rule, label=rule.name or f"rules[{self._added}]"))
            self._added += 1
        self._uses.sort(key=lambda use: -use.rule.priority)
        self._kinds = {type(use.rule) for use in self._uses}

    def remove(self, name: str) -> int:
        """Take away the rules of this name, and return how many there were. What they hold stays held."""
        kept = [use for use in self._uses if use.rule.name != name]
        removed = len(self._uses) - len(kept)
        self._uses = kept
        self._kinds = {type(use.rule) for use in kept}
        return removed

    def clear(self) -> None:
        """Take away all rules, and release all that is held."""
        self._uses, self._kinds = [], set()
        self.release()

    def follow(self, script: Script) -> None:
        """Go on by another script, in place of this one and all rules; what is held is released."""
        self.clear()
        self.script, self.paused, self._added = script, script.queue_paused, 0
        self._models_to_change = sorted(script.models, key=lambda change: change.after_prompts)
        self.add(*script.rules)

    def has(self, kind: type) -> bool:
        """Whether there is any rule of this kind: most servers have none, and need not describe what happens."""
        return kind in self._kinds

    def choose(self, subject: Subject, *, point: Point | None = None) -> AnyRule | None:
        """The rule that is used for this, if any; its use is counted."""
        use = self.use_for(subject, point=point)
        return None if use is None else use.rule

    def use_for(
        self, subject: Subject, *, point: Point | None = None, among: Callable[[AnyRule], bool] = lambda _: True
    ) -> RuleUse | None:
        """As `choose`, of those rules only that are `among` them, and with what became of the rule."""
        use = next(self._fitting(subject, point, among), None)
        if use is not None:
            use.served += 1
            self._pass_over(use, subject, lambda rule: among(rule) and _is_about(rule, point))
        return use

    def choose_cached(self, subject: NodeSubject) -> NodeRule | None:
        """The rule that says whether a node of a prompt that begins is in the cache, if any; its use is counted.

        A rule that does not say so, and that would be used for the node's call, hides those behind it.
        """
        for use in self._uses:
            if not isinstance(use.rule, NodeRule) or use.spent:
                continue
            found = node_differences(use.rule.match, subject)
            if use.rule.cached is None:
                if not found and use.fits >= use.rule.after:
                    self._pass_over(use, subject, _says_cached)
                    return None
            elif found:
                use.missed(subject, found)
            else:
                use.fits += 1
                if use.fits > use.rule.after:
                    use.served += 1
                    self._pass_over(use, subject, _says_cached)
                    return use.rule
        return None

    def _fitting(self, subject: Subject, point: Point | None, among: Callable[[AnyRule], bool]) -> Iterator[RuleUse]:
        for use in self._uses:
            if not among(use.rule) or not _is_about(use.rule, point):
                continue
            found = differences(use.rule, subject)
            if found is None or use.spent:
                continue
            if found:
                use.missed(subject, found)
                continue
            use.fits += 1
            if use.fits > use.rule.after:
                yield use

    def _pass_over(self, taker: RuleUse, subject: Subject, among: Callable[[AnyRule], bool]) -> None:
        """Note of rules that were not used so far what they would have been asked for, had another not taken it."""
        for use in self._uses[self._uses.index(taker) + 1 :]:
            if use.served or use.hidden_by is not None or not among(use.rule):
                continue
            found = differences(use.rule, subject)
            if found:
                use.missed(subject, found)
            elif found is not None:
                use.hidden_by = taker

    # -- prompts and models

    def accept(self) -> int:
        """A prompt was accepted; its place among all that were, from 1."""
        self.prompts_accepted += 1
        return self.prompts_accepted

    def due_model_changes(self) -> list[ModelChange]:
        """The changes of models that are to be made now, after so many prompts; each is told once."""
        due = [change for change in self._models_to_change if change.after_prompts <= self.prompts_accepted]
        del self._models_to_change[: len(due)]
        self.model_changes += due
        return due

    # -- holds

    @property
    def held(self) -> list[Gate]:
        """What is held now, in the order in which it came."""
        return list(self._gates)

    def hold(self, name: str, what: str = "") -> Gate:
        """Hold something under this name; `what` it is, is for those who wonder why nothing happens."""
        gate = Gate(name, what)
        self._gates.append(gate)
        if self.on_held is not None:
            self.on_held(gate)
        return gate

    def release(self, name: str | None = None) -> int:
        """Release what is held under this name (None: all), and return how much that was."""
        opened = [gate for gate in self._gates if name in (None, gate.name)]
        self._gates = [gate for gate in self._gates if gate not in opened]
        for gate in opened:
            gate.open()
        if opened:
            self.on_open()
        return len(opened)

    def let_go(self, gate: Gate) -> None:
        """What was held is over by itself."""
        if gate in self._gates:
            self._gates.remove(gate)


def _is_about(rule: AnyRule, point: Point | None) -> bool:
    return not isinstance(rule, PointRule) or rule.point == point


def _says_cached(rule: AnyRule) -> bool:
    return isinstance(rule, NodeRule) and rule.cached is not None


def hold_names(rules: Iterable[AnyRule]) -> set[str]:
    """The names of all holds that these rules can come to."""
    names: set[str] = set()
    for rule in rules:
        names.update(hold.name for hold in getattr(rule, "holds", ()))
        single = getattr(rule, "hold", None)
        if single is not None:
            names.add(single)
    return names
