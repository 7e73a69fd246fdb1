"""The files of the simulated server, kept in real directories."""

from __future__ import annotations

import errno
import os
import stat as modes
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from comfy_mock.engine.files import Content, Files, FileStat
from comfy_mock.engine.memory_files import MemoryFiles, WriteTimes, fail, split_path

_Names = tuple[str, ...]

_DEVICES = {"con", "prn", "aux", "nul", *(port + digit for port in ("com", "lpt") for digit in "123456789¹²³")}


def windows_refuses(name: str) -> bool:
    """Whether Windows has no file of that name: it means a device, a drive, a stream or a folder, or is cut short."""
    device = name.split(".", 1)[0].rstrip(" ").lower() in _DEVICES
    return device or name[-1:] in {".", " "} or any(char < " " or char in '<>:"/\\|?*' for char in name)


class DirectoryFiles:
    """The `Files` protocol in real directories: `mounts` maps virtual folders to them.

    `DirectoryFiles({"/comfyui/output": Path("out")})` keeps what the server saves in `out`.

    What lies outside every mount is kept in `rest` (in memory by default). Directories that are missing are made.
    Symbolic links count only while they stay inside their mount; what leads out, and what is neither file nor folder,
    is not there, and cannot be written. Errors of the disk are `OSError`s whose text names the real path.

    `windows` says to refuse the names that Windows cannot hold; by default on Windows only.
    """

    def __init__(
        self, mounts: Mapping[str, Path], *, rest: Files | None = None, now: float = 0.0, windows: bool | None = None
    ) -> None:
        self._windows = os.name == "nt" if windows is None else windows
        self._rest: Files = MemoryFiles(now=now) if rest is None else rest
        self._roots: dict[_Names, Path] = {}
        self._times = WriteTimes()
        self._order: dict[Path, dict[str, None]] = {}
        for path in sorted(mounts, key=lambda path: len(split_path(path))):
            self.make_folder(path, now=now)
            with _explained("use", path, mounts[path]):
                mounts[path].mkdir(parents=True, exist_ok=True)
                self._roots[split_path(path)] = mounts[path].resolve(strict=True)

    def stat(self, path: str) -> FileStat | None:
        try:
            real = self._real(path)
        except OSError:
            return None
        return self._rest.stat(path) if real is None else _stat(real)

    def read(self, path: str) -> bytes:
        real = self._real(path)
        if real is None:
            return self._rest.read(path)
        if self._need(real, path).is_folder:
            fail(errno.EISDIR, path)
        with _explained("read", path, real):
            return real.read_bytes()

    def write(self, path: str, content: Content, *, now: float) -> None:
        real = self._real(path)
        if real is None:
            self._rest.write(path, content, now=now)
            return
        data = content if isinstance(content, bytes) else content()
        known = _stat(real)
        if known is not None and known.is_folder:
            fail(errno.EISDIR, path)
        if known is None and os.path.lexists(real):
            raise PermissionError(errno.EACCES, f"{real} is neither a file nor a folder", path)
        self._make(real.parent, path)
        siblings = self._known(real.parent)
        with _explained("write", path, real):
            real.write_bytes(data)
            time = self._times.next(now)
            os.utime(real, (time, time))
        siblings[real.name] = None

    def make_folder(self, path: str, *, now: float) -> None:
        real = self._real(path)
        if real is None:
            self._rest.make_folder(path, now=now)
            return
        known = _stat(real)
        if known is not None and not known.is_folder:
            fail(errno.EEXIST, path)
        self._make(real, path)

    def names(self, path: str) -> list[str]:
        real = self._real(path)
        if real is None:
            return self._rest.names(path)
        if not self._need(real, path).is_folder:
            fail(errno.ENOTDIR, path)
        with _explained("list", path, real):
            known = self._known(real)
            self._look(real)
        return list(known)

    def remove(self, path: str) -> None:
        real = self._real(path)
        if real is None:
            self._rest.remove(path)
            return
        if self._need(real, path).is_folder:
            fail(errno.EISDIR, path)
        with _explained("delete", path, real):
            real.unlink()
        self._known(real.parent).pop(real.name, None)

    def move(self, source: str, target: str) -> None:
        old, new = self._real(source), self._real(target)
        if old is None and new is None:
            self._refuse_mounts(source, target)
            self._rest.move(source, target)
            return
        facts = self.stat(source)
        if facts is None:
            fail(errno.ENOENT, source)
        if split_path(source) == split_path(target):
            return
        self._refuse_mounts(source, target)
        self._check_target(facts, source, target)
        if old is None or new is None or self._mount(source) != self._mount(target):
            if facts.is_folder:
                fail(errno.EXDEV, target)
            self.write(target, self.read(source), now=facts.modified)
            self.remove(source)
            return
        self._known(old.parent)
        with _explained("move", source, old):
            if facts.is_folder and new.exists():
                new.rmdir()
            old.replace(new)
        self._renamed(old, new)

    def _refuse_mounts(self, *paths: str) -> None:
        for path in paths:
            names = split_path(path)
            if any(mount[: len(names)] == names for mount in self._roots):
                fail(errno.EBUSY, path)

    def _check_target(self, facts: FileStat, source: str, target: str) -> None:
        old, new = split_path(source), split_path(target)
        if facts.is_folder and new[: len(old)] == old:
            fail(errno.EINVAL, target)
        above = self.stat("/" + "/".join(new[:-1]))
        if above is None:
            fail(errno.ENOENT, target)
        if not above.is_folder:
            fail(errno.ENOTDIR, target)
        known = self.stat(target)
        if known is None or known.is_folder == facts.is_folder:
            if known is not None and known.is_folder and self.names(target):
                fail(errno.ENOTEMPTY, target)
        else:
            fail(errno.EISDIR if known.is_folder else errno.ENOTDIR, target)

    def _renamed(self, old: Path, new: Path) -> None:
        """Keep the order of creation of what was moved, and of what is in it."""
        self._known(old.parent).pop(old.name, None)
        siblings = self._known(new.parent)
        siblings.pop(new.name, None)
        siblings[new.name] = None
        self._order.pop(new, None)
        for folder in [folder for folder in self._order if folder == old or old in folder.parents]:
            self._order[new / folder.relative_to(old)] = self._order.pop(folder)

    def _mount(self, path: str) -> _Names | None:
        """The mount that a path lies in, itself included; the deepest one."""
        names = split_path(path)
        return max((mount for mount in self._roots if names[: len(mount)] == mount), key=len, default=None)

    def _real(self, path: str) -> Path | None:
        """The place of a path on the disk, links resolved; None if it lies outside every mount."""
        mount = self._mount(path)
        if mount is None:
            return None
        below = split_path(path)[len(mount) :]
        if self._windows:
            for name in below:
                if windows_refuses(name):
                    raise OSError(errno.EINVAL, f"Windows does not allow the name {name!r}", path)
        root = self._roots[mount]
        wanted = root.joinpath(*below)
        real = Path(os.path.realpath(wanted.parent), wanted.name) if below else root
        if real.is_symlink():
            real = Path(os.path.realpath(real))
        if real != root and root not in real.parents:
            raise PermissionError(errno.EACCES, f"a symbolic link leads out of {root}", path)
        return real

    def _need(self, real: Path, path: str) -> FileStat:
        facts = _stat(real)
        if facts is None:
            fail(errno.ENOENT, path)
        return facts

    def _make(self, real: Path, path: str) -> None:
        missing = [real]
        while missing[-1] not in self._roots.values() and _stat(missing[-1]) is None:
            missing.append(missing[-1].parent)
        for folder in reversed(missing[:-1]):
            siblings = self._known(folder.parent) if _is_folder(folder.parent) else fail(errno.ENOTDIR, path)
            with _explained("make", path, folder):
                folder.mkdir(exist_ok=True)
            siblings[folder.name] = None
        if not _is_folder(real):
            fail(errno.ENOTDIR, path)

    def _known(self, folder: Path) -> dict[str, None]:
        """The names in a folder in order of creation, as noted; what was there before comes first, by time."""
        if folder not in self._order:
            self._order[folder] = {}
            self._look(folder)
        return self._order[folder]

    def _look(self, folder: Path) -> None:
        """Bring the noted names up to date with what others did to the folder."""
        known = self._order[folder]
        found: set[str] = set()
        times: dict[str, float] = {}
        for entry in os.scandir(folder):
            if self._counts(entry):
                found.add(entry.name)
                if entry.name not in known:
                    times[entry.name] = entry.stat().st_mtime
        for name in [name for name in known if name not in found]:
            del known[name]
        known.update(dict.fromkeys(sorted(times, key=lambda name: (times[name], name))))

    def _counts(self, entry: os.DirEntry[str]) -> bool:
        return (entry.is_file() or entry.is_dir()) and (not entry.is_symlink() or self._stays_in(Path(entry.path)))

    def _stays_in(self, real: Path) -> bool:
        end = Path(os.path.realpath(real))
        root = max((root for root in self._roots.values() if root in real.parents), key=lambda root: len(root.parts))
        return end == root or root in end.parents


def _stat(real: Path) -> FileStat | None:
    try:
        facts = real.stat()
    except OSError:
        return None
    if modes.S_ISDIR(facts.st_mode):
        return FileStat(is_folder=True, size=0, modified=facts.st_mtime, created=facts.st_mtime)
    if modes.S_ISREG(facts.st_mode):
        return FileStat(is_folder=False, size=facts.st_size, modified=facts.st_mtime, created=facts.st_mtime)
    return None


def _is_folder(real: Path) -> bool:
    facts = _stat(real)
    return facts is not None and facts.is_folder


@contextmanager
def _explained(verb: str, path: str, real: Path) -> Iterator[None]:
    """Say in the text of an `OSError` what was tried, and where on the disk."""
    try:
        yield
    except OSError as error:
        _explain(error, verb, path, real)


def _explain(error: OSError, verb: str, path: str, real: Path) -> NoReturn:
    reason = error.strerror or str(error)
    raise type(error)(error.errno, f"{reason} (could not {verb} {real})", path) from error
