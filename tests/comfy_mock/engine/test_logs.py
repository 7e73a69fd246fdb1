"""The log of the console panel (protocol 2.7, recordings metadata_routes and ws_api_alias_and_logs)."""

from __future__ import annotations

from comfy_contracts import messages
from comfy_mock.engine.logs import ENTRIES_MAX, LogBook, start_up_lines
from comfy_mock.engine.options import Options

NOW = 1_795_440_227.671493


def test_an_entry_has_local_time_level_colour_and_a_newline() -> None:
    book = LogBook(NOW, utc_offset_s=3600)
    entry = book.write("got prompt", now=NOW)
    assert entry.m == "\x1b[32m[INFO]\x1b[0m got prompt\n"
    assert entry.t == "2026-11-23T14:23:47.671493"
    assert book.text() == f"{entry.t} - {entry.m}"
    assert book.raw() == {"entries": [{"t": entry.t, "m": entry.m}], "size": {"cols": 80, "rows": 24}}


def test_a_warning_looks_as_recorded() -> None:
    entry = LogBook(NOW).write("careful", now=NOW, level="WARNING")
    assert entry.m == "\x1b[1m\x1b[33m[WARNING]\x1b[0m careful\n"


def test_only_the_first_message_tells_the_size() -> None:
    book = LogBook(NOW)
    told = [book.message(book.write(text, now=NOW)) for text in ("one", "two")]
    assert [message.size is None for message in told] == [False, True]
    assert messages.encode(told[0]).endswith('"size": {"cols": 80, "rows": 24}}}')
    assert messages.encode(told[1]).endswith('"size": null}}')


def test_who_asked_for_the_raw_log_knows_the_size() -> None:
    book = LogBook(NOW)
    book.raw()
    assert book.message(book.write("one", now=NOW)).size is None


def test_the_oldest_entries_fall_out() -> None:
    book = LogBook(NOW, start_up=["first"])
    for number in range(ENTRIES_MAX):
        book.write(str(number), now=NOW)
    entries = book.raw()["entries"]
    assert len(entries) == 300
    assert entries[0]["m"] == "\x1b[32m[INFO]\x1b[0m 0\n"


def test_subscriptions_begin_and_end() -> None:
    book = LogBook(NOW)
    book.subscribe("a", enabled=True)
    book.subscribe("b", enabled=True)
    book.subscribe("a", enabled=False)
    book.subscribe("nobody", enabled=False)
    assert list(book.subscribers) == ["b"]


def test_start_up_lines_say_how_the_server_was_started() -> None:
    lines = start_up_lines(Options(cache="lru", cache_size=3, preview_method="latent2rgb", multi_user=True))
    assert any("0.33.0" in line for line in lines)
    assert any("LRU cache of 3" in line for line in lines)
    assert any("latent2rgb" in line for line in lines)
    assert any("multi-user" in line for line in lines)
