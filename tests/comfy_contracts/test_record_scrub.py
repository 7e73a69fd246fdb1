"""What a recording keeps to itself: each rule of scrubbing takes away what it says, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from traffic_maker import exchange, har, socket

from comfy_contracts.har import Har, load, packaged_recordings
from comfy_contracts.scrub import SCRUB_RULES, ScrubRule, scrub, without_folders

RECORDINGS = packaged_recordings("0.33.0")
KEY = "comfyui-0123456789abcdef"


def texts(recording: Har) -> str:
    """All that a reader of the file would see."""
    return json.dumps(recording.to_builtins(), ensure_ascii=False)


def scrubbed(*entries: dict[str, Any]) -> str:
    return texts(scrub(har(*entries)))


@pytest.mark.parametrize(
    "name", ["Authorization", "proxy-authorization", "Cookie", "Set-Cookie", "X-API-Key", "WWW-Authenticate"]
)
def test_secret_headers(name: str) -> None:
    found = scrubbed(exchange(sent_headers={name: f"Bearer {KEY}"}, headers={name: KEY}))
    assert KEY not in found
    assert found.count(f'{{"name": "{name}", "value": "scrubbed"}}') == 2
    assert "127.0.0.1:8188" in found


def test_cookies() -> None:
    entry = exchange()
    for side in ("request", "response"):
        entry[side]["cookies"] = [{"name": "session", "value": KEY}]
    assert KEY not in scrubbed(entry)


@pytest.mark.parametrize("name", ["token", "api_key", "apikey", "access_token", "key", "sig", "x-token", "password"])
def test_secret_parameters(name: str) -> None:
    entry = exchange(path=f"/view?filename=a.png&{name}={KEY}&type=output")
    entry["request"]["queryString"] = [{"name": name, "value": KEY}, {"name": "filename", "value": "a.png"}]
    found = scrubbed(entry, exchange("POST", sent=f"{name}={KEY}&x=1"), exchange(answer=f"http://h/?{name}={KEY}"))
    assert KEY not in found
    assert f"filename=a.png&{name}=scrubbed&type=output" in found


@pytest.mark.parametrize(
    "name", ["auth_token_comfy_org", "api_key_comfy_org", "apiKey", "token", "Password", "client_secret", "authToken"]
)
def test_secret_fields(name: str) -> None:
    prompt = {"prompt": {"1": {"inputs": {"text": "a key", "seed": 3}}}, "extra_data": {name: KEY}}
    found = scrub(har(exchange("POST", "/prompt", sent=prompt), socket((1, {"type": "x", "data": {name: KEY}}))))
    assert KEY not in texts(found)
    kept = json.loads(found.entries[0].request.body or found.entries[1].request.body)
    assert kept == {**prompt, "extra_data": {name: "scrubbed"}}


@pytest.mark.parametrize("name", ["token_normalization", "tokens", "keyframes", "max_tokens", "secretary"])
def test_fields_that_only_look_secret(name: str) -> None:
    recording = har(exchange(answer={name: "length+mean"}))
    assert scrub(recording) == recording


def test_secret_fields_in_a_text_within_a_text() -> None:
    found = scrubbed(exchange(answer={"workflow": json.dumps({"extra": {"api_key": KEY}, "nodes": []})}))
    assert KEY not in found
    assert "nodes" in found


def test_secrets_seen() -> None:
    found = scrubbed(
        exchange("POST", sent={"api_key": KEY}),
        exchange(answer=f"bad key {KEY}!"),
        socket((1, {"type": "execution_error", "data": {"exception_message": f"401 for {KEY}"}})),
        exchange(headers={"X-Echo": KEY}),
    )
    assert KEY not in found
    assert "bad key scrubbed!" in found


def test_a_short_secret_is_not_looked_for_elsewhere() -> None:
    found = scrubbed(exchange("POST", sent={"password": "red"}), exchange(answer="a red picture"))
    assert "a red picture" in found


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ('  File "/home/joe/My Stuff/ComfyUI/execution.py", line 3', '  File "execution.py", line 3'),
        ('File "/opt/venv/lib/python3.11/site-packages/torch/nn.py"', 'File "torch/nn.py"'),
        (r"C:\Users\Joe\ComfyUI\models\checkpoints\x.ckpt", r"models\checkpoints\x.ckpt"),
        (r'{"a": "C:\\Users\\Joe Doe\\ComfyUI\\output\\x.png"}', r'{"a": "output\\x.png"}'),
        ('["/data/stable/models/loras", "/data/stable/output/loras"]', '["models/loras", "output/loras"]'),
        ("cannot read /home/joe/secret plans.txt", "cannot read secret plans.txt"),
        ("output_dir: /home/joe\n", "output_dir: ~\n"),
        ("/userdata/workflows%2Fa.json /users /view?type=temp", "/userdata/workflows%2Fa.json /users /view?type=temp"),
        ("http://host/data/a and https://h/home/b", "http://host/data/a and https://h/home/b"),
        ("1/2 a/home/b 12:30", "1/2 a/home/b 12:30"),
    ],
)
def test_folders(text: str, left: str) -> None:
    assert without_folders(text) == left


def test_folders_are_taken_out_of_bodies_and_messages() -> None:
    path = "/home/joe/ComfyUI/models/x"
    found = scrub(har(exchange(answer={"a": path}), socket((1, {"type": "x", "data": {"a": [path]}}))))
    assert "joe" not in texts(found)
    assert [entry.extra.get("_scrubbed") for entry in found.entries] == [True, True]
    assert json.loads(next(found.exchanges()).response.body or b"") == {"a": "models/x"}


@pytest.mark.parametrize("rule", SCRUB_RULES, ids=lambda rule: rule.name)
def test_every_rule_has_a_test_above(rule: ScrubRule) -> None:
    assert [name for name in globals() if name.startswith(f"test_{rule.name.replace(' ', '_')}")]


@pytest.mark.parametrize("name", ["t2i_fresh", "validation_errors", "upload_image", "error_in_middle_node"])
def test_what_was_scrubbed_already_stays(name: str, tmp_path: Path) -> None:
    recording = load(RECORDINGS[name])
    assert scrub(recording) == recording
