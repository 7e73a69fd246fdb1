"""The page at `/`, and what packages would serve beside it (protocol 2.8). There is no frontend yet."""

from __future__ import annotations

import html

from comfy_mock.engine.answers import Answer, static_missing, text_answer
from comfy_mock.engine.engine import Engine
from comfy_mock.server.http import Endpoint, HttpRequest

_NEVER_KEPT = (("Cache-Control", "no-store, must-revalidate"), ("Pragma", "no-cache"), ("Expires", "0"))

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>comfy-mock</title>
<style>body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem; }}</style>
</head>
<body>
<h1>comfy-mock</h1>
<p>This is a simulated ComfyUI {version} server: it has the routes and events of a real one, and needs no GPU.
Its pictures are drawn, not generated.</p>
<ul>
<li><a href="system_stats">system_stats</a>, <a href="features">features</a>: what it says it is</li>
<li><a href="object_info">object_info</a>: the {classes} node classes it knows</li>
<li><a href="models">models</a>: the folders of models</li>
<li><a href="queue">queue</a>, <a href="history">history</a>, <a href="api/jobs">api/jobs</a>: what it does and did</li>
<li><a href="internal/logs/raw">internal/logs/raw</a>: its log</li>
</ul>
<p>Point a client at this address, and <code>POST /prompt</code>.</p>
</body>
</html>
"""


def get_index(engine: Engine, _request: HttpRequest) -> Answer:
    version = html.escape(engine.options.version)
    page = _PAGE.format(version=version, classes=len(engine.object_info))
    return Answer(200, page.encode("utf-8"), "text/html", _NEVER_KEPT)


def get_template(_engine: Engine, _request: HttpRequest) -> Answer:
    return text_answer("404: Not Found", 404, from_exception=True)


def get_docs_folder(_engine: Engine, _request: HttpRequest) -> Answer:
    return text_answer("403: Forbidden", 403, from_exception=True)


def get_docs(engine: Engine, request: HttpRequest) -> Answer:
    return static_missing() if request.path_params["page"] else get_docs_folder(engine, request)


ENDPOINTS = [
    Endpoint("GET", "/", get_index),
    Endpoint("GET", "/templates/{asset:rest}", get_template, alias=False),
    Endpoint("GET", "/docs", get_docs_folder, alias=False),
    Endpoint("GET", "/docs/{page:rest}", get_docs, alias=False),
]
