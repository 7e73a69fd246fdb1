"""`comfy-mock conform`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from comfy_mock.cli import app
from comfy_mock.conformance.catalogue import SITUATIONS

CLIENT = """
import json, os, sys
from comfy_client import Client, ComfyError

with Client(sys.argv[1], verify=False, trust_env=False) as client:
    try:
        print(json.dumps(dict(client.run(json.load(open(sys.argv[2]))).outputs)))
    except ComfyError as error:
        print(json.dumps({"error": str(error)}))
"""


def conform(*words: str) -> Result:
    return CliRunner().invoke(app, ["conform", *words], env={"COLUMNS": "200"})


def test_it_lists_the_situations() -> None:
    lines = conform("--list").stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == list(SITUATIONS)
    assert conform("--list", "--only", "plain").stdout.startswith("plain: A run ")


def test_a_client_that_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("client.py").write_text(CLIENT, encoding="utf-8")  # found from the folder that it runs in, too
    words = ["--only", "quick", "--only", "fails_at_once", "--json", "report.json"]
    done = conform(*words, "--", sys.executable, "client.py", "{url}", "{workflow}")
    assert done.exit_code == 0, done.output
    assert "2 of 2 pass" in done.stdout
    report = json.loads(Path("report.json").read_text(encoding="utf-8"))
    assert [(each["situation"], each["verdict"]) for each in report["situations"]] == [
        ("quick", "passes"),
        ("fails_at_once", "passes"),
    ]


def test_a_client_that_fails_is_told_why_and_what_it_should_do() -> None:
    done = conform("--only", "quick", "--verbose", "--", sys.executable, "-c", "print('{\"9\": []}')")
    assert done.exit_code == 1
    assert "quick: wrong result" in done.stdout
    assert "It should:  Be ready for a prompt that is over before anything was asked" in done.stdout
    assert "(nothing came, and nothing was sent)" in done.stdout
    assert "0 of 1 pass" in done.stdout


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "give the client's command behind"),
        (["--only", "plian", "--", "x"], "there is no situation 'plian'"),
        (["--only", "schedule:x", "--", "x"], "there is no 'x'; there are: one_output"),
        (["--only", "quick", "--", "/nowhere/client"], "cannot run /nowhere/client"),
    ],
)
def test_wrong_commands(words: list[str], text: str) -> None:
    done = conform(*words)
    assert done.exit_code == 2
    assert text in done.output
