"""A sample of the table in docs/conformance.md is still true."""

from __future__ import annotations

from pathlib import Path

import pytest

from comfy_mock.conformance.catalogue import SITUATIONS
from comfy_mock.conformance.check import chosen, run
from comfy_mock.conformance.third_party import THIRD_PARTIES, CannotInstall
from comfy_mock.conformance.verdicts import Verdict

pytestmark = pytest.mark.interop

DRIVERS = Path(__file__).resolve().parent / "conform"

SAMPLE: dict[str, dict[str, Verdict]] = {
    "comfy-api-simplified 1.6.0": {"previews_between": "wrong result"},
    "comfyui-workflow-client 0.1.0": {"several_pictures": "wrong result", "fails": "wrong result"},
    "comfy-cli 1.23.0": {"fails": "passes"},
    "comfy-ui-client 0.1.2": {"fails": "wrong result"},
    "@saintno/comfyui-sdk 0.3.1": {"two_outputs": "passes"},
    "@stable-canvas/comfyui-client 1.5.9": {"two_outputs": "wrong result", "anothers_failure": "crashes"},
    "@stable-canvas/comfyui-client 1.5.9, polling": {"two_outputs": "passes"},
}
"""Without what hangs: that would only wait."""


@pytest.mark.parametrize("name", SAMPLE)
def test_what_a_client_does(name: str) -> None:
    expected = SAMPLE[name]
    try:
        with THIRD_PARTIES[name].command(DRIVERS) as client:
            outcomes = run(client, chosen(expected), timeout=20, jobs=2).outcomes
    except CannotInstall as problem:
        pytest.skip(str(problem))
    assert {outcome.situation.name: outcome.verdict for outcome in outcomes} == expected, "\n".join(map(str, outcomes))


def test_the_sample_is_of_the_catalogue() -> None:
    assert {name for sample in SAMPLE.values() for name in sample} <= set(SITUATIONS)
