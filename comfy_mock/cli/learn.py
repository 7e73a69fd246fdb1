"""`comfy-mock learn`: a scenario and node classes from recorded runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from comfy_contracts.har import Har
    from comfy_mock.engine.learning import Lesson

_EXIT_NOTHING = 1


def learn(
    recordings: Annotated[
        list[Path],
        typer.Argument(metavar="RUN.har...", exists=True, dir_okay=False, help="Recorded runs, gzipped or not."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where to write; made if it is not there.")],
    keep_pictures: Annotated[
        bool, typer.Option("--keep-pictures", help="Show the recorded previews; without it they are drawn.")
    ] = False,
    with_failures: Annotated[
        bool, typer.Option("--with-failures", help="Let nodes fail that failed; without it they are only told of.")
    ] = False,
) -> None:
    """Turn recorded runs into a scenario and node classes, with which a fake does the same again.

    Writes scenario.yaml, catalogue.json and the files that nodes made. What was not learned, or not exactly, is told on
    stderr.
    """
    from comfy_mock.engine.learning import NothingToLearn
    from comfy_mock.engine.learning import learn as learn_from

    try:
        lesson = learn_from(
            [_read(path) for path in recordings], keep_pictures=keep_pictures, with_failures=with_failures
        )
    except NothingToLearn as problem:
        typer.echo(f"comfy-mock: {problem}", err=True)
        raise typer.Exit(_EXIT_NOTHING) from problem
    except ValueError as problem:
        raise typer.BadParameter(str(problem), param_hint="RUN.har") from problem
    try:
        _write(lesson, out)
    except OSError as problem:
        typer.echo(f"comfy-mock: {out}: {problem.strerror or problem}", err=True)
        raise typer.Exit(1) from problem
    _report(lesson, out)


def _read(path: Path) -> Har:
    from comfy_contracts.har import HarError, load

    try:
        return load(path)
    except OSError as problem:
        raise HarError(f"cannot read {path}: {problem.strerror or problem}") from problem


def _write(lesson: Lesson, out: Path) -> None:
    for name, content in lesson.files().items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _report(lesson: Lesson, out: Path) -> None:
    from comfy_mock.engine.learning.lesson import CATALOGUE, SCENARIO

    classes = {rule.match.class_type for rule in lesson.rules}
    typer.echo(
        f"comfy-mock: {lesson.calls} nodes in {lesson.runs} prompts taught {len(lesson.rules)} rules for "
        f"{len(classes)} classes, {len(lesson.classes)} of which are custom ones",
        err=True,
    )
    for note in lesson.notes:
        typer.echo(f"  {note}", err=True)
    typer.echo(f"comfy-mock serve --script {out / SCENARIO} --add-nodes {out / CATALOGUE}")
