"""Nothing outside of the storage is read or written, whatever clients send (protocol 2.3-2.8)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from raw_http import Received, ask

from comfy_mock import ComfyMock

SECRET = b"-- a secret beside the storage --"

ESCAPES = [
    "..",
    "../",
    "../secret.txt",
    "../../secret.txt",
    "../../../secret.txt",
    "../../../../secret.txt",
    "../../../../../../../../etc/passwd",
    "a/../../../secret.txt",
    "./../../../secret.txt",
    "..//..//..//secret.txt",
    "....//....//secret.txt",
    "..\\..\\..\\secret.txt",
    "..%2f..%2f..%2fsecret.txt",
    "%2e%2e/%2e%2e/%2e%2e/secret.txt",
    "%252e%252e%252f%252e%252e%252fsecret.txt",
    "..%c0%af..%c0%afsecret.txt",
    "/etc/passwd",
    "//etc/passwd",
    "file:///etc/passwd",
    "C:\\Windows\\win.ini",
    "\\\\host\\share\\secret.txt",
    "secret.txt\0.png",
    "link/secret.txt",
    "link",
    "link.txt",
    "~/secret.txt",
    "secret.txt [input]",
    "../../secret.txt [output]",
    "a\r\nX-Evil: 1",
    "con",
    "nul.txt",
    "x" * 300,
    "\ufeff..",
    "\u2025/secret.txt",
]


@dataclass
class Beside:
    """A server whose storage lies beside a secret, and has links to it."""

    root: Path
    port: int

    def untouched(self) -> bool:
        """Whether nothing was made, changed or taken away around the storage."""
        around = [path for path in self.root.iterdir() if path.name != "storage"]
        found = {path: path.read_bytes() for top in around for path in (top, *top.rglob("*")) if path.is_file()}
        return found == {self.root / "secret.txt": SECRET, self.root / "elsewhere" / "secret.txt": SECRET}

    def safe(self, line: str, *headers: str, body: bytes = b"") -> Received:
        """Ask, and see that the answer shows nothing and the request changed nothing."""
        answer = ask(self.port, line, *headers, body=body)
        assert SECRET not in answer.body
        assert b"root:" not in answer.body
        assert "X-Evil" not in answer.headers
        assert self.untouched()
        return answer


@contextlib.contextmanager
def server_beside(root: Path) -> Iterator[Beside]:
    (root / "elsewhere").mkdir()
    for folder in (root, root / "elsewhere"):
        (folder / "secret.txt").write_bytes(SECRET)
    for name in ("input", "output", "temp", "user/default", "models/checkpoints", "models/embeddings"):
        folder = root / "storage" / name
        folder.mkdir(parents=True)
        try:
            (folder / "link").symlink_to(root / "elsewhere", target_is_directory=True)
            (folder / "link.txt").symlink_to(root / "secret.txt")
            (folder / "link.safetensors").symlink_to(root / "secret.txt")
        except OSError:
            pytest.skip("this machine makes no symbolic links")
    with ComfyMock(storage=root / "storage") as server:
        yield Beside(root, server.port)


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    with server_beside(tmp_path_factory.mktemp("written")) as made:
        yield made


@pytest.fixture(scope="module")
def read_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    """For tests that write nothing, so that all they may find is what lies beside."""
    with server_beside(tmp_path_factory.mktemp("read")) as made:
        yield made


def encoded(text: str) -> str:
    return quote(text, safe="%")


def form(filename: str, **fields: str) -> tuple[str, bytes]:
    """The content type and the body of an upload. `filename` stands there as it is."""
    parts = [f'Content-Disposition: form-data; name="image"; filename="{filename}"\r\n\r\nnew']
    parts += [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}' for name, value in fields.items()]
    body = "".join(f"--B\r\n{part}\r\n" for part in parts) + "--B--\r\n"
    return "Content-Type: multipart/form-data; boundary=B", body.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("path", ESCAPES)
def test_view(read_only: Beside, path: str) -> None:
    name = encoded(path)
    for kind in ("output", "input", "temp"):
        for query in (f"filename={name}", f"filename=secret.txt&subfolder={name}", f"filename={name}&subfolder={name}"):
            for more in ("", "&preview=webp", "&channel=rgb"):
                assert read_only.safe(f"GET /view?type={kind}&{query}{more}").status in (400, 403, 404)
    assert read_only.safe(f"GET /view?filename=secret.txt&type={name}").status == 400


@pytest.mark.parametrize("path", ESCAPES)
@pytest.mark.parametrize("route", ["image", "mask"])
def test_uploads(beside: Beside, route: str, path: str) -> None:
    reference = json.dumps({"filename": "secret.txt", "subfolder": path})
    for filename, fields in (
        (path, {}),
        ("secret.txt", {"subfolder": path}),
        (path, {"subfolder": path, "overwrite": "true"}),
        ("secret.txt", {"type": path}),
    ):
        kind, body = form(filename, original_ref=reference, **fields)
        beside.safe(f"POST /upload/{route}", kind, body=body)


@pytest.mark.parametrize("path", ESCAPES)
def test_references_of_masks(beside: Beside, path: str) -> None:
    for reference in (
        {"filename": path},
        {"filename": "secret.txt", "subfolder": path},
        {"filename": "x", "type": path},
    ):
        kind, body = form("masked.png", type="temp", original_ref=json.dumps(reference))
        assert beside.safe("POST /upload/mask", kind, body=body).status in (200, 500)
        assert beside.safe("GET /view?filename=masked.png&type=temp").status == 404


@pytest.mark.parametrize("path", ESCAPES)
def test_userdata(beside: Beside, path: str) -> None:
    for name in (encoded(path), quote(path, safe=""), quote(quote(path, safe=""), safe="")):
        beside.safe(f"GET /userdata/{name}")
        beside.safe(f"POST /userdata/{name}", body=b"new")
        beside.safe(f"POST /userdata/victim.txt/move/{name}", body=b"")
        beside.safe("POST /userdata/victim.txt", body=b"new")
        beside.safe(f"POST /userdata/{name}/move/stolen.txt")
        beside.safe("GET /userdata/stolen.txt")
        beside.safe(f"DELETE /userdata/{name}")
        beside.safe(f"GET /userdata?dir={name}&recurse=true&full_info=true")
        beside.safe(f"GET /v2/userdata?path={name}")


@pytest.mark.parametrize("path", ESCAPES)
def test_settings_users_and_logs(beside: Beside, path: str) -> None:
    name = quote(path, safe="")
    assert beside.safe(f"POST /settings/{name}", body=b'"x"').status in (200, 500)
    assert beside.safe(f"GET /settings/{name}").status == 200
    beside.safe("POST /users", body=json.dumps({"username": path}).encode())
    beside.safe("GET /userdata?dir=.", f"comfy-user: {name}")
    assert beside.safe(f"GET /internal/files/{name}").status == 400


@pytest.mark.parametrize("path", ESCAPES)
def test_models(read_only: Beside, path: str) -> None:
    for name in (encoded(path), quote(path, safe="")):
        for line in (
            f"GET /models/{name}",
            f"GET /experiment/models/{name}",
            f"GET /experiment/models/preview/checkpoints/0/{name}",
            f"GET /experiment/models/preview/{name}/0/secret.txt",
            f"GET /experiment/models/preview/checkpoints/{name}/secret.txt",
            f"GET /view_metadata/checkpoints?filename={name}",
            f"GET /view_metadata/{name}?filename=link.safetensors",
        ):
            assert read_only.safe(line).status in (400, 403, 404, 500)
    assert read_only.safe("GET /models/checkpoints").body.count(b"link") == 0


@pytest.mark.parametrize("path", ESCAPES)
@pytest.mark.parametrize("prefix", ["/", "/templates/", "/docs/", "/extensions/", "/extensions/core/", "/api/"])
def test_static_files(read_only: Beside, prefix: str, path: str) -> None:
    for name in (encoded(path), quote(path, safe="")):
        assert read_only.safe(f"GET {prefix}{name}").status in (403, 404, 500)


@pytest.mark.parametrize("path", ESCAPES)
def test_nodes(beside: Beside, path: str) -> None:
    """Nodes that read and write files by name."""
    prompt = {
        "1": {"class_type": "LoadImage", "inputs": {"image": path}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": path}},
        "3": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }
    beside.safe("POST /prompt", body=json.dumps({"prompt": prompt}).encode())
    beside.safe("GET /history")
