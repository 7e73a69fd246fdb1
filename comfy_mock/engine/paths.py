"""Where the file names that clients send lead to in the virtual tree."""

from __future__ import annotations

import posixpath

from comfy_mock.engine.files import Files, FileStat

_TAGS = {"[output]": "output", "[input]": "input", "[temp]": "temp"}


def annotated(name: str) -> tuple[str, str | None]:
    """A file name such as `a.png [input]` as its bare name and the type that its tag says, None without a tag.

    The character before the tag goes too, whatever it is (protocol 2.4).
    """
    for tag, folder_type in _TAGS.items():
        if name.endswith(tag):
            return name[: -len(tag) - 1], folder_type
    return name, None


def inside(folder: str, path: str) -> str | None:
    """`path`, seen from `folder`, in its normal form, or None if it leads out of the folder.

    An absolute path that stays in the folder is fine.
    """
    # POSIX lets two leading slashes stand; nothing in the tree is named by them.
    normal = "/" + posixpath.normpath(posixpath.join(folder, path)).lstrip("/")
    return normal if normal == folder or normal.startswith(f"{folder}/") else None


def passable(files: Files, path: str) -> bool:
    """Whether an operating system finds its way along an absolute path: what a `..` leaves must be a folder."""
    way: list[str] = []
    for name in path.split("/"):
        if name == "..":
            stat = files.stat("/" + "/".join(way))
            if stat is None or not stat.is_folder:
                return False
            del way[-1:]
        elif name not in ("", "."):
            way.append(name)
    return True


def file_stat(files: Files, path: str) -> FileStat | None:
    """The facts of the regular file at `path`; None for folders, and for names that no file can have."""
    try:
        stat = files.stat(path)
    except ValueError:
        return None
    return None if stat is None or stat.is_folder else stat
