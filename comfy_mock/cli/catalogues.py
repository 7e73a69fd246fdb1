"""Node classes from where the user has them: a file, or a server that runs."""

from __future__ import annotations

from collections.abc import Iterable

import typer

from comfy_contracts import jsontext
from comfy_contracts.catalogue import Catalogue, CatalogueError

_TIMEOUT_S = 60.0


def catalogue_from(source: str | None, additions: Iterable[str]) -> Catalogue | None:
    """The catalogue at `source` (None: the packaged one) with the classes at `additions` added or replaced.

    A source is a file with the answer of `GET /object_info`, or the URL of a server to ask for it. None where neither
    is given. Raises `typer.BadParameter` for a source that cannot be read.
    """
    more = list(additions)
    if source is None and not more:
        return None
    catalogue = Catalogue.packaged() if source is None else _read(source, "--catalogue")
    for addition in more:
        catalogue = catalogue.merged(_read(addition, "--add-nodes").entries)
    return catalogue


def models_offered(source: str | None, catalogue: Catalogue | None) -> dict[str, list[str]] | None:
    """The models for a server with the `catalogue` of `source`: those that its loaders offer, by folder.

    None, which stands for common names, without a `source` or where its loaders offer nothing.
    """
    from comfy_mock.engine.choice_lists import models_of

    return None if source is None or catalogue is None else models_of(catalogue) or None


def _read(source: str, switch: str) -> Catalogue:
    try:
        if source.startswith(("http://", "https://")):
            return Catalogue(_ask(source))
        return Catalogue.load(source)
    except CatalogueError as problem:
        raise typer.BadParameter(str(problem), param_hint=switch) from problem


def _ask(url: str) -> dict[str, dict[str, object]]:
    import httpx

    try:
        answer = httpx.get(f"{url.rstrip('/')}/object_info", timeout=_TIMEOUT_S).raise_for_status()
        entries = jsontext.loads(answer.content)
    except (httpx.HTTPError, httpx.InvalidURL) as problem:
        raise CatalogueError(f"cannot ask {url} for its /object_info: {problem}") from problem
    except ValueError as problem:
        raise CatalogueError(f"the /object_info of {url} is not JSON: {problem}") from problem
    if not isinstance(entries, dict):
        raise CatalogueError(f"the /object_info of {url} must be an object, not {type(entries).__name__}")
    return entries
