"""What all tests share: the Hypothesis profiles, and whom httpx trusts."""

from __future__ import annotations

import functools
import os
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("nightly", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session", autouse=True)
def authorities_are_read_once() -> Iterator[None]:
    """httpx reads the file of those it trusts for each of its clients, for 20 ms; tests make more than a thousand."""
    create = ssl.create_default_context
    created = functools.cache(create)

    def shared(*purpose: ssl.Purpose, **where: Any) -> ssl.SSLContext:
        # A context of one's own, without a file, may be changed by who asked for it.
        return created(**where) if where and not purpose else create(*purpose, **where)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", shared)
        yield
