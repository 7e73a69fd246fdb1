"""The ASGI app: every route of the real server (protocol 2.1) around one engine."""

from __future__ import annotations

from types import ModuleType

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from comfy_mock.engine.script.routes import CONTROL_PREFIX
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


def create_app(server: Server, control: ASGIApp | None = None) -> Starlette:
    """The ASGI app of a fake server; `control`, if there is one, has its prefix for itself."""
    profile = server.engine.profile
    endpoints: list[Endpoint] = [
        endpoint
        for module in ROUTES
        for endpoint in module.ENDPOINTS
        if endpoint.fact is None or profile.has(endpoint.fact)
    ]
    app = Starlette()
    # Not a route: Starlette's own have no line breaks in their paths, and none that does not begin with a slash.
    shell = Shell(server, endpoints)
    app.router.default = shell if control is None else _beside(shell, control)
    return app


def _beside(shell: Shell, control: ASGIApp) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith(f"{CONTROL_PREFIX}/"):
            await control(scope, receive, send)
        else:
            await shell(scope, receive, send)

    return app
