"""The files that the frontend keeps for a user: workflows, templates, a style sheet (protocol 2.6)."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from comfy_mock.engine.answers import Answer, ServerTrouble, empty, json_answer, text_answer
from comfy_mock.engine.content_types import BINARY, content_type_of, is_dangerous
from comfy_mock.engine.directory_order import directory_order
from comfy_mock.engine.file_answers import file_answer
from comfy_mock.engine.files import Files, FileStat
from comfy_mock.engine.users import UnknownUser, Users

_FOLDER_BYTES = 4096
"""The size that a small folder has on the recorded servers: that of a moved one is told (protocol 2.6)."""

_BAD_NAME = 'Invalid filename. Please avoid special characters like :\\/*?"<>|'


class UserData:
    """The verbs of `/userdata` for one request: `header` is its `comfy-user`, `query` its parameters.

    All but `tree` raise `ServerTrouble` for unknown users, and where the real server's handler fails.
    """

    def __init__(self, files: Files, users: Users, *, header: str | None, query: Mapping[str, str], now: float) -> None:
        self._files = files
        self._users = users
        self._header = header
        self._query = query
        self._now = now

    def listing(self) -> Answer:
        """`GET /userdata?dir=`: the files in a folder in the file system's order, but for dot files."""
        directory = self._query.get("dir", "")
        if not directory:
            return text_answer("Directory not provided", 400)
        path = self._path(directory)
        if path is None:
            return text_answer("Invalid directory", 403)
        if self._stat(path) is None:
            return text_answer("Directory not found", 404)
        names = [posixpath.relpath(file, path) for file in self._below(path, recurse=self._flag("recurse"))]
        if self._flag("full_info"):
            return json_answer([self._info(f"{path}/{name}", name) for name in names])
        if self._flag("split"):
            return json_answer([[name, *name.split("/")] for name in names])
        return json_answer(names)

    def tree(self) -> Answer:
        """`GET /v2/userdata?path=`: all that is below a folder, folders first, each kind by lower-cased name."""
        try:
            root = self._users.folder(self._users.identify(self._header))
        except UnknownUser:
            return text_answer("Invalid user specified in request", 403)
        path = posixpath.normpath(posixpath.join(root, unquote(self._query.get("path", ""))))
        if path != root and not path.startswith(root + "/"):
            return text_answer("Invalid path requested", 400)
        stat = self._stat(path)
        if stat is None:
            return json_answer([]) if path == root else text_answer("Requested path not found", 404)
        if not stat.is_folder:
            return text_answer("Requested path is not a directory", 400)
        entries = list(self._everything(path, root))
        return json_answer(sorted(entries, key=lambda entry: (entry["type"] != "directory", entry["name"].lower())))

    def read(self, file: str, headers: Mapping[str, str]) -> Answer:
        """`GET /userdata/{file}`. What a browser might run is served as bytes, but for `user.css` in the root."""
        path = self._path(file)
        if path is None:
            return empty(403)
        if self._stat(path) is None:
            return empty(404)
        kind = content_type_of(path)
        style_sheet = path == f"{self._root()}/user.css"
        shown = "inline" if style_sheet else "attachment"
        return file_answer(
            self._files,
            path,
            headers,
            content_type=BINARY if is_dangerous(kind) and not style_sheet else kind,
            headers=(("X-Content-Type-Options", "nosniff"), ("Content-Disposition", shown)),
        )

    def write(self, file: str, content: bytes) -> Answer:
        """`POST /userdata/{file}`."""
        path = self._path(file)
        if path is None:
            return empty(403)
        if self._keeps_existing(path):
            return text_answer("File already exists", 409)
        try:
            self._files.write(path, content, now=self._now)
        except OSError:
            return Answer(400, reason=_BAD_NAME)
        except ValueError as error:
            raise ServerTrouble(f"{file!r} cannot be a file name: {error}") from error
        return self._result(path)

    def delete(self, file: str) -> Answer:
        """`DELETE /userdata/{file}`."""
        path = self._path(file)
        if path is None:
            return empty(403)
        if self._stat(path) is None:
            return empty(404)
        try:
            self._files.remove(path)
        except OSError as error:
            raise ServerTrouble(f"{file!r} cannot be deleted: {error}") from error
        return empty(204)

    def move(self, file: str, target: str) -> Answer:
        """`POST /userdata/{file}/move/{dest}`. Onto a folder means into it."""
        source = self._path(file)
        if source is None:
            return empty(403)
        if self._stat(source) is None:
            return empty(404)
        path = self._path(target)
        if path is None:
            return empty(403)
        if self._keeps_existing(path):
            return text_answer("File already exists", 409)
        try:
            self._files.move(source, self._place(source, path))
        except (OSError, ValueError) as error:
            raise ServerTrouble(f"{file!r} cannot be moved to {target!r}: {error}") from error
        return self._result(path)

    def _place(self, source: str, target: str) -> str:
        """Where a moved file comes to lie. Raises `FileExistsError` when a folder has that name already."""
        stat = self._files.stat(target)
        if stat is None or not stat.is_folder or source == target:
            return target
        inside = f"{target}/{posixpath.basename(source)}"
        if self._files.stat(inside) is not None:
            raise FileExistsError(f"{inside} is there already")
        return inside

    def _root(self) -> str:
        return self._users.folder(self._users.identify(self._header))

    def _path(self, file: str) -> str | None:
        return self._users.path(self._users.identify(self._header), file, now=self._now)

    def _stat(self, path: str) -> FileStat | None:
        try:
            return self._files.stat(path)
        except ValueError:
            return None

    def _flag(self, name: str) -> bool:
        return self._query.get(name, "").lower() == "true"

    def _keeps_existing(self, path: str) -> bool:
        return self._query.get("overwrite") == "false" and self._stat(path) is not None

    def _result(self, path: str) -> Answer:
        name = posixpath.relpath(path, self._root())
        return json_answer(self._info(path, name) if self._flag("full_info") else name)

    def _info(self, path: str, name: str) -> dict[str, Any]:
        stat = self._files.stat(path)
        if stat is None:
            raise ServerTrouble(f"{path} vanished")
        return {
            "path": name,
            "size": _FOLDER_BYTES if stat.is_folder else stat.size,
            "modified": int(stat.modified * 1000),
            "created": int(stat.created * 1000),
        }

    def _below(self, path: str, *, recurse: bool) -> Iterator[str]:
        """The visible files in a folder, then those in its visible folders."""
        stat = self._files.stat(path)
        if stat is None or not stat.is_folder:
            return
        folders = []
        for name in directory_order(name for name in self._files.names(path) if not name.startswith(".")):
            entry = self._files.stat(f"{path}/{name}")
            if entry is not None and entry.is_folder:
                folders.append(name)
            elif entry is not None:
                yield f"{path}/{name}"
        for name in folders if recurse else []:
            yield from self._below(f"{path}/{name}", recurse=True)

    def _everything(self, path: str, root: str) -> Iterator[dict[str, Any]]:
        """What is in a folder, then what is in its folders."""
        folders = []
        for name in directory_order(self._files.names(path)):
            entry = f"{path}/{name}"
            stat = self._files.stat(entry)
            facts = {"name": name, "path": posixpath.relpath(entry, root)}
            if stat is None:
                continue
            if stat.is_folder:
                folders.append(entry)
                yield {**facts, "type": "directory"}
            else:
                yield {**facts, "type": "file", "size": stat.size, "modified": stat.modified}
        for folder in folders:
            yield from self._everything(folder, root)
