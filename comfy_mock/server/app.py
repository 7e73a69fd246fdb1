"""The ASGI app: every route of the real server (protocol 2.1) around one engine."""

from __future__ import annotations

from types import ModuleType

from starlette.applications import Starlette

from comfy_mock.server.http import Endpoint
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
    profile = server.engine.profile
    endpoints: list[Endpoint] = [
        endpoint
        for module in ROUTES
        for endpoint in module.ENDPOINTS
        if endpoint.fact is None or profile.has(endpoint.fact)
    ]
    app = Starlette()
    # Not a route: Starlette's own have no line breaks in their paths, and none that does not begin with a slash.
    app.router.default = Shell(server, endpoints)
    return app
