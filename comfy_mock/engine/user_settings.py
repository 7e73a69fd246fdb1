"""A user's settings: one JSON object in the file `comfy.settings.json` of their folder (protocol 2.6)."""

from __future__ import annotations

from typing import Any

from comfy_contracts import jsontext
from comfy_mock.engine.answers import ServerTrouble
from comfy_mock.engine.files import Files
from comfy_mock.engine.users import Users

FILE = "comfy.settings.json"


class UserSettings:
    """The settings of the user `user`, read from and written to `files` at each call, as the real server does."""

    def __init__(self, files: Files, users: Users, user: str, *, now: float) -> None:
        self._files = files
        self._now = now
        path = users.path(user, FILE, now=now)
        assert path is not None, "the name of the file is fixed"
        self._path = path

    def all(self) -> Any:
        """Every setting; `{}` when there are none, or when the file is corrupt."""
        stat = self._files.stat(self._path)
        if stat is None or stat.is_folder:
            return {}
        try:
            return jsontext.loads(self._files.read(self._path).decode("utf-8"))
        except (ValueError, RecursionError):
            return {}

    def get(self, name: str) -> Any:
        """One setting, None if it is not set. Raises `ServerTrouble` where the file holds no settings at all."""
        settings = self.all()
        try:
            # A client may have written any JSON into the file; lists and texts can be asked too.
            known = name in settings
            return settings[name] if known else None
        except TypeError as error:
            raise ServerTrouble(f"{self._path} does not hold an object") from error

    def merge(self, changes: Any) -> None:
        """Set what an object says, key by key. Raises `ServerTrouble` if it is no object."""
        if not isinstance(changes, dict):
            raise ServerTrouble(f"settings are an object, not {type(changes).__name__}")
        self._write({**self._object(), **changes})

    def set(self, name: str, value: Any) -> None:
        """Set one setting to any JSON value."""
        self._write({**self._object(), name: value})

    def _object(self) -> dict[str, Any]:
        settings = self.all()
        if not isinstance(settings, dict):
            raise ServerTrouble(f"{self._path} does not hold an object")
        return settings

    def _write(self, settings: dict[str, Any]) -> None:
        try:
            self._files.write(self._path, jsontext.dumps(settings, indent=4).encode("ascii"), now=self._now)
        except OSError as error:
            raise ServerTrouble(f"the settings cannot be written: {error}") from error
