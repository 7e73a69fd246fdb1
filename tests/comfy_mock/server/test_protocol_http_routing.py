"""What is answered for odd targets and methods: the routing of aiohttp 3.14 under the routes of protocol 2.1 (1.2)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from raw_http import Received, ask

from comfy_mock import ComfyMock

PLAIN = "text/plain; charset=utf-8"
EMPTY_QUEUE = b'{"exec_info": {"queue_remaining": 0}}'


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ComfyMock() as server:
        server.engine.files.write("/comfyui/input/ten.txt", b"0123456789", now=0.0)
        yield server.port


def kind(answer: Received) -> str:
    """An answer in a word."""
    if answer.status_line == "HTTP/1.1 404 Not Found":
        if answer.headers == {"Content-Type": "application/octet-stream", "Transfer-Encoding": "chunked"}:
            return "no such file"
        if answer.headers == {"Content-Type": PLAIN, "Content-Length": "14"} and answer.body == b"404: Not Found":
            return "not found"
        if answer.headers == {"Content-Length": "0"}:
            return "nothing"
    if answer.status_line == "HTTP/1.1 403 Forbidden" and answer.body == b"403: Forbidden":
        return "forbidden"
    if answer.status == 405 and answer.body == b"405: Method Not Allowed" and answer.headers["Content-Type"] == PLAIN:
        return answer.headers["Allow"]
    return f"{answer.status} {answer.headers.get('Content-Type', '-')}"


JSON = "200 application/json; charset=utf-8"
PAGE = "200 text/html"


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/", PAGE),
        ("/?x=1", PAGE),
        ("/api/", PAGE),
        ("/api", "no such file"),
        ("/api//", "no such file"),
        ("/prompt?x=1#y", JSON),
        ("/prompt#y?x=1", JSON),
        ("/%70rom%70t", JSON),
        ("/prompt/", "no such file"),
        ("/prompt/.", "no such file"),
        ("/prompt;x=1", "no such file"),
        ("/prompt%3Fx=1", "no such file"),
        ("/PROMPT", "no such file"),
        ("/%2Fprompt", "not found"),
        ("//prompt", "not found"),
        ("//", "not found"),
        ("/x/../prompt", "no such file"),
        ("/.", "forbidden"),
        ("/./", "forbidden"),
        ("/x/..", "forbidden"),
        ("/..", "not found"),
        ("/%2e%2e/etc/passwd", "not found"),
        ("/..%2f..%2fetc%2fpasswd", "not found"),
        ("/prompt%00", "not found"),
        ("/prompt%0D%0AX:%20y", "no such file"),
        ("/%", "no such file"),
        ("/%zz", "no such file"),
        ("/%ff", "no such file"),
        ("/" + "a" * 255, "no such file"),
        ("/" + "a" * 256, f"500 {PLAIN}"),
        ("/" + "%C3%BC" * 128, f"500 {PLAIN}"),
        ("/x/" + "a" * 256, "no such file"),
        ("/history/a%2Fb", JSON),
        ("/history/%zz", JSON),
        ("/history/%ff", JSON),
        ("/history/a/b", "no such file"),
        ("/history/", "no such file"),
        ("/history/%7Bx%7D", "no such file"),
        ("/history/..", JSON),
        ("/internal", "not found"),
        ("/internal/", "not found"),
        ("/internal//logs", "not found"),
        ("/internal/%6Cogs", JSON),
        ("/%69nternal/nope", "not found"),
        ("/internalx", "no such file"),
        ("/api/internal/logs", "no such file"),
        ("/internal/logs/subscribe", "PATCH"),
        ("/internal/files/a%2Fb", "400 application/json; charset=utf-8"),
        ("/models/", "no such file"),
        ("/models/..", "nothing"),
        ("/models/%2e%2e", "nothing"),
        ("/experiment/models/preview/x/0", "no such file"),
        ("/experiment/models/preview/x/0/", "nothing"),
        ("/experiment/models/preview//0/a", "no such file"),
        ("/api/api/jobs", JSON),
        ("/jobs", "no such file"),
        ("http://127.0.0.1:8188/prompt", JSON),
        ("http://other.example/prompt?x", JSON),
        ("HTTP://other.example", "not found"),
        ("https://other.example/nope", "no such file"),
        ("ftp://x/prompt", JSON),
    ],
)
def test_targets(port: int, target: str, expected: str) -> None:
    assert kind(ask(port, f"GET {target}")) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("POST /nope", "GET,HEAD"),
        ("POST /prompt/", "GET,HEAD"),
        ("PUT /prompt", "GET,HEAD,POST"),
        ("TRACE /prompt", "GET,HEAD,POST"),
        ("PROPFIND /api/queue", "GET,HEAD,POST"),
        ("DELETE /settings/x", "GET,HEAD,POST"),
        ("PUT /userdata/x", "DELETE,GET,HEAD,POST"),
        ("PATCH /userdata/x/move/y", "GET,HEAD,POST"),
        ("PUT /api/jobs/cancel", "GET,HEAD,POST"),
        ("PUT /jobs", "GET,HEAD"),
        ("GET /interrupt", "no such file"),
        ("GET /api/jobs/x/cancel", "no such file"),
        ("DELETE /internal/logs", "GET,HEAD"),
        ("GET /internal/logs/subscribe", "PATCH"),
        ("DELETE /internal/nope", "not found"),
        ("CONNECT /prompt", "not found"),
        ("POST http://other.example/nope", "GET,HEAD"),
        ("POST /a%0Ab", "GET,HEAD"),
        ("GET /api/assets/not-a-uuid", "no such file"),
        ("DELETE /api/assets/not-a-uuid", "GET,HEAD"),
        ("PUT /api/assets/01234567-89ab-cdef-0123-456789ABCDEF", "503 application/json; charset=utf-8"),
    ],
)
def test_methods(port: int, line: str, expected: str) -> None:
    assert kind(ask(port, line)) == expected


@pytest.mark.parametrize(
    "target", ["/prompt", "/nope", "/a%0Ab", "*", "/internal/nope", "/view?filename=x", "//", "/%"]
)
def test_options_is_fine_everywhere(port: int, target: str) -> None:
    answer = ask(port, f"OPTIONS {target}")
    assert (answer.status_line, answer.headers, answer.body) == ("HTTP/1.1 200 OK", {"Content-Length": "0"}, b"")


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/prompt",
        "/queue",
        "/history",
        "/history/x.png",
        "/api/jobs",
        "/api/jobs/x",
        "/api/jobs?limit=x",
        "/object_info/KSampler",
        "/system_stats",
        "/features",
        "/models",
        "/embeddings",
        "/experiment/models/checkpoints",
        "/view?filename=ten.txt&type=input",
        "/view?filename=example.png&type=input&channel=rgb",
        "/userdata?dir=nope",
        "/v2/userdata?path=nope",
        "/settings/index.json",
        "/users",
        "/internal/logs/raw",
        "/internal/nope",
        "/internal/files/x",
        "/api/assets",
        "/templates/nope.json",
        "/docs",
        "/..",
        "/history?max_items=x",
    ],
)
def test_head_has_the_headers_of_get(port: int, target: str) -> None:
    get, head = ask(port, f"GET {target}"), ask(port, f"HEAD {target}")
    assert head.body == b""
    assert head.status_line == get.status_line
    assert head.headers == get.headers


@pytest.mark.parametrize("target", ["/nope", "/view", "/models/nope", "/userdata/nope"])
def test_head_of_nothing_has_no_headers(port: int, target: str) -> None:
    answer = ask(port, f"HEAD {target}")
    assert (answer.status, answer.headers, answer.body) == (404, {}, b"")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("filename=ten.txt&type=input", 200),
        ("&filename=ten%2Etxt&type=in%70ut&", 200),
        ("filename=ten.txt&type=input&filename=nope&type=bogus", 200),
        ("filename=nope&filename=ten.txt&type=input", 404),
        ("type=bogus&type=input&filename=ten.txt", 400),
        ("filename=ten.txt&type=input#&x", 200),
        ("filename=ten.txt;type=input", 404),
        ("filename=ten.txt+&type=input", 404),
        ("filename=%ff&type=input", 404),
        ("filename=%zz&type=input", 404),
        ("filename=a%00b&type=input", 404),
        ("filename&type=input", 400),
        ("filename=&type=input", 400),
        ("Filename=ten.txt&type=input", 404),
        ("filename=" + "a" * 300 + "&type=input", 404),
    ],
)
def test_queries(port: int, query: str, status: int) -> None:
    assert ask(port, f"GET /view?{query}").status == status


@pytest.mark.parametrize(
    ("query", "status"),
    [("2", 200), ("%2B1", 200), ("-0", 200), ("1_0", 200), ("%201", 200), ("", 500), ("1.0", 500), ("x", 500)],
)
def test_integers_are_what_python_takes_for_one(port: int, query: str, status: int) -> None:
    assert ask(port, f"GET /history?max_items={query}").status == status


def test_the_query_of_an_absolute_target_counts(port: int) -> None:
    assert ask(port, "GET http://x?filename=ten.txt").status == 404
    assert ask(port, "GET http://x/view?filename=ten.txt&type=input").body == b"0123456789"


def test_an_unreadable_origin_is_trouble(port: int) -> None:
    answer = ask(port, "OPTIONS /prompt", "Origin: http://127.0.0.1:port")
    assert (answer.status, answer.body[:25]) == (500, b"500 Internal Server Error")
