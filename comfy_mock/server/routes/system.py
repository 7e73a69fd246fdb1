"""What the server is and what comes with it (protocol 2.2)."""

from __future__ import annotations

from comfy_mock.engine.answers import Answer, json_answer
from comfy_mock.engine.engine import Engine
from comfy_mock.engine.features import features
from comfy_mock.engine.replacement import node_replacements
from comfy_mock.engine.system_stats import system_stats
from comfy_mock.server.http import Endpoint, HttpRequest


def get_system_stats(engine: Engine, _request: HttpRequest) -> Answer:
    return json_answer(system_stats(engine.options, engine.memory))


def get_features(engine: Engine, _request: HttpRequest) -> Answer:
    return json_answer(features(engine.options))


def get_node_replacements(engine: Engine, _request: HttpRequest) -> Answer:
    return json_answer(dict(node_replacements(engine.options.version)))


def get_extensions(_engine: Engine, _request: HttpRequest) -> Answer:
    return json_answer([])


def get_nothing(_engine: Engine, _request: HttpRequest) -> Answer:
    """What comes with packages that a simulated server does not have: translations, templates, subgraphs."""
    return json_answer({})


def get_global_subgraph(_engine: Engine, _request: HttpRequest) -> Answer:
    return json_answer(None)


ENDPOINTS = [
    Endpoint("GET", "/system_stats", get_system_stats),
    Endpoint("GET", "/features", get_features),
    Endpoint("GET", "/node_replacements", get_node_replacements, fact="node_replacements"),
    Endpoint("GET", "/extensions", get_extensions),
    Endpoint("GET", "/i18n", get_nothing),
    Endpoint("GET", "/workflow_templates", get_nothing),
    Endpoint("GET", "/global_subgraphs", get_nothing, fact="global_subgraphs"),
    Endpoint("GET", "/global_subgraphs/{id}", get_global_subgraph, fact="global_subgraphs"),
]
