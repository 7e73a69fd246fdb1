"""Putting a client through situations, several at a time."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from comfy_mock.conformance.catalogue import SITUATIONS
from comfy_mock.conformance.clients import Client, ClientFunction, Function
from comfy_mock.conformance.report import Outcome, Report
from comfy_mock.conformance.schedules import Schedule, read_schedule, schedules, shrunk
from comfy_mock.conformance.situations import Situation
from comfy_mock.conformance.trial import TIMEOUT_S, try_out

JOBS = 4


def check_client(
    client: ClientFunction,
    *,
    only: Iterable[str] = (),
    random: int = 0,
    seed: int = 0,
    timeout: float = TIMEOUT_S,
    jobs: int = JOBS,
) -> Report:
    """Put a client through the catalogue of situations, and through `random` schedules of legal faults after it.

        def my_client(url, workflow):
            return {"9": ["conform_00001_.png"]}  # runs the workflow at url, returns the files by node id

        check_client(my_client).check()

    What the function, or coroutine function, is to return or to raise stands in docs/conformance.md. `only` are names
    of situations (`*` stands for anything) or schedules; all, where there are none. `timeout` is how many seconds the
    client may take in one of them, and `jobs` how many of them run at a time. Raises `ValueError` for a name that
    there is not.
    """
    return run(Function(client), chosen(only), random=random, seed=seed, timeout=timeout, jobs=jobs)


def chosen(only: Iterable[str]) -> list[Situation]:
    """The situations of these names, in the order of the catalogue; all, for no names. Raises `ValueError`."""
    patterns = list(only)
    if not patterns:
        return list(SITUATIONS.values())
    named = [read_schedule(pattern).situation() for pattern in patterns if Schedule.is_name(pattern)]
    plain = [pattern for pattern in patterns if not Schedule.is_name(pattern)]
    for pattern in plain:
        if not fnmatch.filter(SITUATIONS, pattern):
            raise ValueError(f"there is no situation {pattern!r}; `comfy-mock conform --list` shows all")
    found = [each for name, each in SITUATIONS.items() if any(fnmatch.fnmatchcase(name, each_) for each_ in plain)]
    return [*found, *named]


def run(
    client: Client,
    situations: Sequence[Situation],
    *,
    random: int = 0,
    seed: int = 0,
    timeout: float = TIMEOUT_S,
    jobs: int = JOBS,
    done: Callable[[Outcome], object] = lambda _outcome: None,
) -> Report:
    """Put a client through situations, and `random` schedules drawn by `seed`; `done` hears of each that is over.

    The first schedule that fails is shrunk: reported of those that failed is the smallest found.
    """
    outcomes = list(_each(client, situations, timeout, jobs, done))
    drawn = schedules(random, seed)
    tried = list(_each(client, [schedule.situation() for schedule in drawn], timeout, jobs, done))
    for schedule, outcome in zip(drawn, tried, strict=True):
        if not outcome.passed:
            smallest = shrunk(schedule, outcome, lambda less: try_out(client, less.situation(), timeout))
            return Report([*outcomes, *(each for each in tried if each.passed), smallest])
    return Report([*outcomes, *tried])


def _each(
    client: Client, situations: Sequence[Situation], timeout: float, jobs: int, done: Callable[[Outcome], object]
) -> Iterator[Outcome]:
    with ThreadPoolExecutor(jobs, thread_name_prefix="conformance") as pool:
        waiting = [pool.submit(try_out, client, situation, timeout) for situation in situations]
        try:
            for each in waiting:
                outcome = each.result()
                done(outcome)
                yield outcome
        finally:
            for each in waiting:
                each.cancel()
