"""Who may control a fake by HTTP."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit


def refusal(headers: Mapping[str, str], client: str | None, token: str | None) -> tuple[int, str] | None:
    """The status and the reason with which a request is refused; None where it may pass.

    Without a token only programs on this machine may control the fake: `client`, the address of who asks, is a loopback
    one, or None without a network. With a token whoever has it may. Web pages of other origins never may, nor any that
    pretend by their name in the DNS to be this machine. `headers` have lower-case names.
    """
    host, origin = headers.get("host", ""), headers.get("origin")
    try:
        hostname, asking = urlsplit(f"//{host}").hostname or "", urlsplit(origin or "").netloc
    except ValueError:
        return 400, "the headers Host and Origin must be those of a URL"
    if origin is not None and asking.lower() != host.lower():
        return 403, f"pages of {origin} cannot control the fake: only those of its own origin"
    if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        return 403, "pages of other origins cannot control the fake"
    if token is not None:
        given = headers.get("authorization", "")
        if hmac.compare_digest(given.encode("utf-8", "surrogateescape"), f"Bearer {token}".encode()):
            return None
        return 401, "the header `Authorization: Bearer TOKEN` must have the token that the fake was started with"
    if client is not None and not _is_loopback(client):
        return 403, "without a token the fake is controlled from its own machine only"
    if not _is_local_name(hostname):
        return 403, f"the fake is not called {host}: control it at its address, or with a token"
    return None


def _is_loopback(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address == "testclient"  # of Starlette, which has no network
    mapped = getattr(ip, "ipv4_mapped", None)
    return ip.is_loopback or (mapped is not None and mapped.is_loopback)


def _is_local_name(host: str) -> bool:
    """Whether a name cannot be one that somebody has made to mean this machine: it is none, or not of the DNS."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(".localhost")
    return True
