"""The ASGI app: every route of the real server (protocol 2.1) around one engine."""

from __future__ import annotations

from types import ModuleType

from starlette.applications import Starlette
from starlette.routing import Mount

from comfy_mock.server.routes import (
    assets,
    internal,
    jobs,
    models,
    object_info,
    prompts,
    settings,
    static,
    system,
    upload,
    userdata,
    users,
    view,
)
from comfy_mock.server.shell import Server, Shell

ROUTES: tuple[ModuleType, ...] = (
    prompts,
    jobs,
    view,
    upload,
    object_info,
    system,
    models,
    users,
    settings,
    userdata,
    internal,
    assets,
    static,
)


def create_app(server: Server) -> Starlette:
    """The ASGI app of a fake server."""
    endpoints = [endpoint for module in ROUTES for endpoint in module.ENDPOINTS]
    return Starlette(routes=[Mount("", app=Shell(server, endpoints))])
