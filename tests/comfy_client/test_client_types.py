"""What `mypy --strict` says to users of the clients."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import comfy_client
from comfy_client import AsyncClient, AsyncEvents, AsyncJob, AsyncListening, AsyncOutput, AsyncResult

ROOT = Path(__file__).resolve().parents[2]
EVERYTHING = (Path(__file__).parent / "user_of_everything.py").read_text(encoding="utf-8")

WRONG = """
from comfy_client import AsyncClient, Client
Client().run({}, path="carrier pigeon")  # line 3
Client().submit({}, fornt=True)  # line 4
Client().queue().pending  # line 5
Client().on("executed")  # line 6
len(Client().view(3))  # line 7
async def awaits() -> int:
    return len(AsyncClient().loras())  # line 9
async def told(progress: object) -> None:
    print(progress)
Client().job("p").on_progress(told)  # line 12
"""

NODES = """
from comfy_client.workflow import Node, Output, Workflow

nodes = Workflow().nodes
model, clip, vae = nodes.CheckpointLoaderSimple(ckpt_name="x")
latent = nodes.EmptyLatentImage(width=512, height=512)
sampler: Node = nodes.KSampler({"seed": 1}, model=model, cfg=7, positive=clip, latent_image=latent, steps=["9", 0])
output: Output = sampler.LATENT
nodes.BatchImagesNode(images=[output, sampler])
nodes.SaveVideo({"format.codec": "h264"}, video=output, format="mp4")
nodes.SaveVideo(video=output, format={"format": "mp4", "codec": "auto"})
nodes.SomeoneElses(strength=1)
nodes["Video Slice"](video=output)
nodes.KSampler(modl=model)  # line 14
nodes.KSampler(model=3.5)  # line 15
nodes.SomeoneElses(strength=object())  # line 16
"""

BEFORE_EACH_PROGRAM = """
from comfy_client import Client, Workflow
workflow = Workflow()
"""


def test_the_user_uses_everything() -> None:
    tree = ast.walk(ast.parse(EVERYTHING))
    used = {node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "") for node in tree}
    blocking = {cls.__name__.removeprefix("Async") for cls in (AsyncEvents, AsyncListening, AsyncOutput, AsyncResult)}
    public = set(comfy_client.__all__) - blocking - {"Client", "Job"}
    for cls in (AsyncClient, AsyncEvents, AsyncJob, AsyncListening, AsyncOutput, AsyncResult):
        public |= {name for name in dir(cls) if not name.startswith("_")}
    assert public <= used


@pytest.mark.slow
def test_mypy_strict_is_content_with_users_and_finds_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = pytest.importorskip("mypy.api")
    monkeypatch.syspath_prepend(str(ROOT / "client"))
    from make_sync import blocking

    monkeypatch.chdir(tmp_path)
    Path("awaiting.py").write_text(EVERYTHING, encoding="utf-8")
    Path("blocking.py").write_text(blocking(EVERYTHING, "blocking.py"), encoding="utf-8")
    Path("wrong.py").write_text(WRONG, encoding="utf-8")
    Path("nodes.py").write_text(NODES, encoding="utf-8")
    page = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
    programs = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    for number, program in enumerate(programs):
        Path(f"page{number}.py").write_text(BEFORE_EACH_PROGRAM + program, encoding="utf-8")
    files = [
        "awaiting.py",
        "blocking.py",
        "wrong.py",
        "nodes.py",
        *(f"page{number}.py" for number in range(len(programs))),
    ]
    said, _, status = api.run(["--strict", "--config-file=", "--no-error-summary", *files])
    errors = [":".join(line.split(":")[:2]) for line in said.splitlines() if ": error:" in line]
    expected = {"wrong.py": (3, 4, 5, 6, 7, 9, 12), "nodes.py": (14, 15, 16)}
    assert sorted(errors) == sorted(f"{file}:{line}" for file, lines in expected.items() for line in lines), said
    assert status == 1
