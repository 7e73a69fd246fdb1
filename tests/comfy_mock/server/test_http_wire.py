"""What only the bytes on a real connection show: framing, closing, reason phrases, odd methods, upgrades."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from shell_driver import exchange, on_a_port, recording

LIMIT = 65536


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with on_a_port(max_upload_size=LIMIT / 1048576) as port:
        yield port


def asked(request_line: str, *headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join([f"{request_line} HTTP/1.1", "Host: 127.0.0.1:8188", *headers, "", ""]).encode("latin-1") + body


def parts(answer: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    return status, dict(line.split(": ", 1) for line in lines), body


def test_a_missing_file_is_an_empty_chunked_answer(port: int) -> None:
    status, headers, body = parts(exchange(port, asked("GET /nope")))
    assert status == "HTTP/1.1 404 Not Found"
    assert sorted(headers) == ["Content-Type", "Date", "Server", "Transfer-Encoding"]
    assert headers["Transfer-Encoding"] == "chunked"
    assert headers["Date"] == "Mon, 23 Nov 2026 13:24:25 GMT"
    assert body == b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("/nope", ["Date", "Server"]),
        ("/view?filename=missing.png", ["Date", "Server"]),
        ("/prompt", ["Content-Length", "Content-Type", "Date", "Server"]),
    ],
)
def test_head_has_no_framing_that_the_real_server_leaves_out(port: int, target: str, names: list[str]) -> None:
    received = exchange(port, asked(f"HEAD {target}", "Connection: close"), until_closed=True)
    _, headers, body = parts(received)
    assert sorted(headers) == sorted([*names, "Connection"])
    assert headers.get("Content-Length") in (None, "37")
    assert body == b""


def test_a_500_closes_the_connection(port: int) -> None:
    status, headers, body = parts(exchange(port, asked("GET /trouble"), until_closed=True))
    assert status == "HTTP/1.1 500 Internal Server Error"
    assert headers["Connection"] == "close"
    assert headers["Content-Length"] == "55"
    assert body == b"500 Internal Server Error\n\nServer got itself in trouble"


def test_a_500_is_a_page_for_browsers(port: int) -> None:
    _, headers, body = parts(exchange(port, asked("GET /bug", "Accept: text/html,*/*"), until_closed=True))
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Content-Length"] == "145"
    assert body.startswith(b"<html><head><title>500 Internal Server Error</title></head><body>\n<h1>")


def test_an_unknown_method_is_refused_as_recorded(port: int) -> None:
    entry = next(entry for entry in recording("http_edges") if entry.request.method == "BREW")
    status, headers, body = parts(exchange(port, asked("BREW /prompt"), until_closed=True))
    assert status == f"HTTP/1.0 {entry.response.status} {entry.response.status_text}"
    assert sorted(headers) == sorted(header.name for header in entry.response.headers)
    assert body == entry.response.body
    assert headers["Content-Type"] == entry.response.header("content-type")


def test_an_answer_can_have_a_reason_phrase_of_its_own(port: int) -> None:
    status, headers, _ = parts(exchange(port, asked("POST /reasoned", "Content-Length: 0")))
    assert status == 'HTTP/1.1 400 Invalid filename. Please avoid special characters like :\\/*?"<>|'
    assert headers["Content-Length"] == "0"
    assert "Content-Type" not in headers


def test_the_next_answer_on_the_connection_has_the_usual_reason_again(port: int) -> None:
    both = asked("POST /reasoned", "Content-Length: 0") + asked("POST /queue", "Content-Length: 0", "Connection: close")
    second = exchange(port, both, until_closed=True).split(b"\r\n\r\n")[1]
    assert second.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("framing", ["Content-Length: 65537", "Transfer-Encoding: chunked"])
def test_a_body_over_the_limit_is_refused_and_the_connection_goes_on(port: int, framing: str) -> None:
    body = b"x" * (LIMIT + 1)
    if "chunked" in framing:
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    sent = asked("POST /echo", framing, body=body) + asked("GET /prompt", "Connection: close")
    refusal, _, rest = exchange(port, sent, until_closed=True).partition(b"Maximum request body size 65536 exceeded.")
    status, headers, _ = parts(refusal)
    assert status == "HTTP/1.1 413 Request Entity Too Large"
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert rest.startswith(b"HTTP/1.1 200 OK")


def test_a_body_of_just_the_limit_passes(port: int) -> None:
    answer = exchange(port, asked("POST /echo", f"Content-Length: {LIMIT}", body=b"x" * LIMIT))
    assert b'"size": 65536' in answer


def test_a_client_that_waits_for_leave_is_refused_without_its_body(port: int) -> None:
    sent = asked("POST /echo", f"Content-Length: {LIMIT + 1}", "Expect: 100-continue")
    status, headers, _ = parts(exchange(port, sent, until_closed=True))
    assert status.startswith("HTTP/1.1 413")
    assert headers["Connection"] == "close"


def test_a_body_that_nobody_reads_may_be_of_any_size(port: int) -> None:
    answer = exchange(port, asked("POST /unread", f"Content-Length: {LIMIT * 2}", body=b"x" * LIMIT * 2))
    assert answer.startswith(b"HTTP/1.1 200 OK")


def test_line_breaks_in_a_header_do_not_split_the_answer(port: int) -> None:
    status, headers, _ = parts(exchange(port, asked("GET /split?name=a%0D%0AX-Evil:%201"), until_closed=True))
    assert status.startswith("HTTP/1.1 500")
    assert "X-Evil" not in headers


def test_a_path_is_taken_as_it_was_sent(port: int) -> None:
    assert b'"params": {"prompt_id": "a/b"}' in exchange(port, asked("GET /history/a%2Fb"))
    assert b"404 Not Found" in exchange(port, asked("GET /history/a/b"))


def test_an_endless_target_is_a_client_error(port: int) -> None:
    answer = exchange(port, asked("GET /view?filename=" + "a" * 1_000_000, "Connection: close"), until_closed=True)
    assert answer.startswith(b"HTTP/1.0 400 Bad Request\r\n")


UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: " + "A" * 22 + "==",
)


@pytest.mark.parametrize("path", ["/ws", "/api/ws", "/ws?clientId=x"])
def test_a_websocket_is_let_in(port: int, path: str) -> None:
    assert exchange(port, asked(f"GET {path}", *UPGRADE)).startswith(b"HTTP/1.1 101 ")


def test_the_origin_rule_holds_for_websockets(port: int) -> None:
    status, headers, body = parts(exchange(port, asked("GET /ws", *UPGRADE, "Origin: http://evil.example")))
    assert status == "HTTP/1.1 403 Forbidden"
    assert headers["content-length"] == "0"
    assert body == b""


def test_a_websocket_elsewhere_is_answered_as_plain_http(port: int) -> None:
    assert exchange(port, asked("GET /nope", *UPGRADE)).startswith(b"HTTP/1.1 404 Not Found")
    assert exchange(port, asked("GET /prompt", *UPGRADE)).endswith(b'{"exec_info": {"queue_remaining": 0}}')


def test_ws_without_an_upgrade_says_what_it_misses(port: int) -> None:
    _, _, body = parts(exchange(port, asked("GET /ws")))
    assert body == b'No WebSocket UPGRADE hdr: None\n Can "Upgrade" only to "WebSocket".'
