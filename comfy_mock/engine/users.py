"""Who uses the server, and where their files are (protocol 2.6)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from comfy_contracts import jsontext
from comfy_mock.engine.answers import Answer, ServerTrouble, json_answer
from comfy_mock.engine.files import Files, Folders

DEFAULT_USER = "default"
HEADER = "comfy-user"

_RESERVED_PREFIX = "__"
_NOT_FOR_IDS = re.compile(r"[^a-zA-Z0-9_-]+")


class UnknownUser(ServerTrouble):
    """The request names a user that does not exist. Most routes let it become a 500 (protocol 1.3)."""


class Users:
    """The users of a server: `default` alone, or with `multi_user` those that were created.

    They are kept in the file `users.json` of the user folder, where one of a server before is found again.
    """

    def __init__(self, files: Files, folders: Folders, *, multi_user: bool = False) -> None:
        self._files = files
        self._root = folders.user
        self._file = f"{folders.user}/users.json"
        self.multi_user = multi_user
        self.names: dict[str, str] = self._load()

    def identify(self, header: str | None) -> str:
        """The user of a request by its `comfy-user` header. Raises `UnknownUser`."""
        if not self.multi_user:
            return DEFAULT_USER
        user = header or DEFAULT_USER
        if user not in self.names:
            raise UnknownUser(f"unknown user {user!r}")
        return user

    def folder(self, user: str) -> str:
        """The folder of a user's files."""
        return f"{self._root}/{user}"

    def path(self, user: str, file: str, *, now: float) -> str | None:
        """The path of a file, given as a client names it: relative, perhaps percent-encoded once more.

        None if it leads out of the user's folder. The folder that the file is in is made, as the real server does even
        when it only looks; raises `ServerTrouble` where that is impossible.
        """
        folder = self.folder(user)
        path = posixpath.normpath(posixpath.join(folder, unquote(file)))
        if path != folder and not path.startswith(folder + "/"):
            return None
        try:
            self._files.make_folder(posixpath.dirname(path), now=now)
        except FileExistsError:
            pass
        except (OSError, ValueError) as error:
            raise ServerTrouble(f"the folder of {file!r} cannot be made: {error}") from error
        return path

    def overview(self) -> Answer:
        """`GET /users`."""
        if self.multi_user:
            return json_answer({"storage": "server", "users": self.names})
        migrated = self._files.stat(self.folder(DEFAULT_USER)) is not None
        return json_answer({"storage": "server", "migrated": migrated})

    def add(self, body: Any, *, mint_id: Callable[[], str], now: float) -> Answer:
        """`POST /users`: create a user. `mint_id` gives a fresh UUID. Raises `ServerTrouble`."""
        if not isinstance(body, dict) or not isinstance(body.get("username"), str):
            raise ServerTrouble("the body has no username")
        if body["username"] in self.names.values():
            return json_answer({"error": "Duplicate username."}, 400)
        name = body["username"].strip()
        if not name:
            return json_answer({"error": "username not provided"}, 400)
        if name.startswith(_RESERVED_PREFIX):
            return json_answer({"error": "System User prefix not allowed"}, 400)
        user = f"{_NOT_FOR_IDS.sub('-', name)}_{mint_id()}"
        self.names[user] = name
        self._files.write(self._file, jsontext.dumps(self.names).encode(), now=now)
        return json_answer(user)

    def _load(self) -> dict[str, str]:
        if self._files.stat(self._file) is None:
            return {}
        try:
            names = jsontext.loads(self._files.read(self._file))
        except ValueError as error:
            raise ValueError(f"{self._file} in the storage is not JSON ({error}); delete it to start afresh") from error
        if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
            raise ValueError(
                f"{self._file} in the storage must be an object of names by user id; delete it to start afresh"
            )
        return names
