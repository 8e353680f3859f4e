"""The files that a command writes: checked before anything is computed, then written whole or row by row, never onto an input.

A command lists the files it wants to write (`Wanted`). `reserve` refuses any that would destroy something or could not be
written, locks the files against other runs and gives a `Target` for each, which is the only way to the file:

    with reserve([Wanted("--html", path, SHEET)], inputs=photographs, overwrite=False) as (sheet,):
        sheet.write(page)
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import os
import re
import select
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from dcnn_fast.cli import descriptors
from dcnn_fast.locking import HeldFiles, InUseError, lock_file, require_lock
from dcnn_fast.partials import give_mode, give_name, nameless, new_partial

_HEAD = 1 << 16  # bytes by which a file's kind is recognised
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_AWAY = "move it away or choose another name"
_NAME_BYTES = 255  # longest file name on Linux's file systems


class TargetError(ValueError):
    """A file that a command cannot or must not write; the message names the option, the file and the reason."""


@dataclass(frozen=True)
class Kind:
    """Recognises the program's own files of one kind.

    what: the kind in words, "a CSV file of scores". known: whether a file that begins with these bytes (the first 65536, or
    all) is one. It is never called for empty files, which may always be replaced.
    """

    what: str
    known: Callable[[bytes], bool]


def lines_of(what: str, *firsts: str) -> Kind:
    """The kind of text files whose first line is one of `firsts` (a CSV's header), or a truncated one.

    A byte order mark, carriage returns, quotes and semicolons instead of commas, as spreadsheets save them, make no difference.
    """

    def known(head: bytes) -> bool:
        first, newline, _ = head.removeprefix(_BYTE_ORDER_MARK).partition(b"\n")
        line = first.rstrip(b"\r").replace(b'"', b"").replace(b";", b",").decode(errors="replace")
        return any(line == each or (not newline and each.startswith(line)) for each in firsts)

    return Kind(what, known)


def json_with(what: str, *keys: str) -> Kind:
    """The kind of JSON files, or of files of JSON lines, whose (first) object has all of `keys`.

    A file that ends within its first line, or is longer than `head`, is recognised if it begins with the first of `keys`.
    """
    start = b'{"' + keys[0].encode() + b'"'
    laid_out = re.compile(rb'\{\s*"' + re.escape(keys[0].encode()) + rb'"\s*:')

    def known(head: bytes) -> bool:
        whole = len(head) < _HEAD
        head = head.removeprefix(_BYTE_ORDER_MARK)
        first, newline, _ = head.partition(b"\n")
        if not newline and (head.startswith(start) or start.startswith(head)):
            return True
        if not whole and laid_out.match(head):
            return True
        return any(_has_keys(text, keys) for text in (first, head))

    return Kind(what, known)


def _has_keys(text: bytes, keys: Sequence[str]) -> bool:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and all(key in value for key in keys)


SHEET_MARK = '<meta name="generator" content="dcnn-fast">'
_OLD_SHEET = b'initial-scale=1">\n<title>Contact sheet</title>'  # of pages from before the mark
SHEET = Kind("a page of this program", lambda head: SHEET_MARK.encode() in head or _OLD_SHEET in head)
MODEL = Kind("a model file", lambda head: head[8:9] == b"{" and b'"__metadata__"' in head and b'"dcnn_fast"' in head)


@dataclass(frozen=True)
class Wanted:
    """One file that a command is asked to write.

    option: its option on the command line, "--csv". path: as typed; "-" is standard output. kind: its future content, and the
    only content that it may have already. kept: the command continues an existing file, or replaces it by its continuation, so
    that a file of the right kind is accepted. otherwise: tells the user how to replace an existing file.
    """

    option: str
    path: str | Path
    kind: Kind
    kept: bool = False
    otherwise: str = "--overwrite replaces it"


@dataclass(frozen=True)
class Target:
    """A file that has been checked. `check` makes it.

    option, name: as on the command line. file: the file behind all links, None for a target that is written straight: standard
    output or another descriptor, a pipe, a device. holds: for a reserved target, the files that this run holds by any name.
    """

    option: str
    name: str
    file: Path | None
    descriptor: int | None = None
    holds: HeldFiles | None = field(default=None, compare=False)

    @property
    def is_standard_output(self) -> bool:
        """Whether output to this target appears on standard output."""
        return self.descriptor == 1

    def __str__(self) -> str:
        return f"{self.option} {self.name}"

    def open(self, *, append: bool = False) -> io.FileIO:
        """Open the file for writing, unbuffered; emptied unless `append` (a target written straight is never emptied).

        The caller closes it. Raises OSError, or InUseError for a file that another run has reserved by another name.
        """
        if self.descriptor is not None:
            return io.FileIO(os.dup(self.descriptor), "wb")
        if self.file is None:
            return io.FileIO(os.open(self.name, os.O_WRONLY), "wb")
        number = os.open(self.file, os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else 0), 0o666)
        file = io.FileIO(number, "ab" if append else "wb")
        try:
            if self.holds is not None:
                self.holds.hold(number)
            if not append:
                os.ftruncate(number, 0)  # only once it is known to be reserved by this run
        except BaseException:
            file.close()
            raise
        return file

    def write(self, content: bytes) -> None:
        """Replace the file by `content`, whole or not at all: until all is written, the former file stays.

        The mode of an existing file is kept. If the process dies meanwhile, no other file is left behind on file systems with
        unnamed files, as Linux's own have. Raises OSError.
        """
        if self.file is None:
            with self.open() as file:
                write_all(file, content)
            return
        with nameless(self.file) as unnamed:
            if unnamed is not None:
                write_all(unnamed, content)
                give_name(unnamed, self.file)
                return
        with self.writing() as partial:
            partial.write_bytes(content)

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """A path with the same suffix in a new folder beside the file, for code that writes by name; it then replaces the file.

        On an exception (also Ctrl-C) it is removed and the former file stays; the remains of a killed run are removed by the
        next run in that folder. Raises OSError.
        """
        suffix = Path(self.name).suffix
        with new_partial(self.file, suffix if len(os.fsencode(suffix)) < 20 else "") as partial:
            mode = stat.S_IMODE(partial.stat().st_mode)
            yield partial
            if self.file is not None:
                give_mode(partial, mode)  # a library may have created a new file there
                partial.replace(self.file)
            else:
                with partial.open("rb") as source, self.open() as file:
                    shutil.copyfileobj(source, file)

    @property
    def lock(self) -> Target | None:
        """The hidden file beside this one that locks it for one run; None for a target that is written straight."""
        if self.file is None:
            return None
        path = beside(self.file, ".lock", hidden=True)
        return Target(self.option, f"{path}, the lock of {self.name},", path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = self.lock
        if self.file is None or lock is None or lock.file is None or self.holds is None:
            yield
            return
        with ExitStack() as stack:
            try:
                stack.enter_context(lock_file(lock.file))
                with suppress(FileNotFoundError), io.FileIO(self.file, "r+") as file:
                    self.holds.hold(file.fileno())
            except InUseError:
                raise TargetError(f"{self.option}: {self.name} is being written by another run") from None
            except OSError as error:
                raise TargetError(f"{self.option}: {self.name} cannot be locked: {reason(error)}") from None
            yield


def check(wanted: Sequence[Wanted], *, inputs: Iterable[str | os.PathLike[str]] = (), overwrite: bool = False) -> list[Target]:
    """The targets of `wanted`, in order, if all can be written without destroying anything. Writes nothing.

    inputs: every file that the command reads; a folder stands only for itself. overwrite: existing files of the right kind may
    be replaced.
    Raises TargetError for a target that is an input by any name, hard link or link; is a folder or anything else that is
    neither a file nor written straight; has a missing or unwritable folder; is another of `wanted`, or the file that standard
    output or error goes to; holds anything but its kind; or exists, unless kept or `overwrite`.
    """
    targets = [_target(each) for each in wanted]
    _require_distinct(targets)
    _require_no_input(targets, inputs)
    _require_own(wanted, targets, overwrite)
    return targets


@contextmanager
def reserve(
    wanted: Sequence[Wanted], *, inputs: Iterable[str | os.PathLike[str]] = (), overwrite: bool = False
) -> Iterator[list[Target]]:
    """`check` the targets and lock them for this run until the end; TargetError at once for one that another run has locked.

    A lock is a hidden file beside the target, removed at the end; one that a killed run leaves locks nothing. Like a target, it
    is refused if it is an input, another target or another target's lock, or if anything but an empty file is in its place.
    The file itself is locked as well, whatever its names. A target that is written straight has no lock.
    """
    inputs = list(inputs)
    holds = HeldFiles()
    targets = [replace(target, holds=holds) for target in check(wanted, inputs=inputs, overwrite=overwrite)]
    _require_locks(targets, inputs)
    with ExitStack() as stack:
        stack.callback(holds.release)
        for target in targets:
            stack.enter_context(target._locked())
        _require_own(wanted, targets, overwrite)  # another run may have written it meanwhile
        yield targets


def input_among(targets: Sequence[Target], path: str | os.PathLike[str]) -> Target | None:
    """The target to which `path` leads, by any name; None if there is none."""
    by_identity, by_path = _identities(targets)
    return _found(by_identity, by_path, path) if by_identity or by_path else None


def beside(file: Path, suffix: str, *, hidden: bool = False) -> Path:
    """The path of `file` with `suffix` added to its name, hidden or not; a name that would be too long is shortened."""
    name = os.fsencode(file.name)
    added = os.fsencode(suffix)
    start = b"." if hidden else b""
    if len(start + name + added) > _NAME_BYTES:
        digest = b"~" + hashlib.sha256(name).hexdigest()[:16].encode()
        name = name[: _NAME_BYTES - len(start + digest + added)] + digest
    return file.parent / os.fsdecode(start + name + added)


def write_all(file: io.FileIO, content: bytes) -> None:
    """Write all of `content`, in as many pieces as the system takes. Raises OSError."""
    rest = memoryview(content)
    while rest:
        written = file.write(rest)
        if written is None:  # a full, non-blocking pipe
            select.select([], [file], [])
        else:
            rest = rest[written:]


def reason(error: OSError) -> str:
    """The system's message for `error`, without the path."""
    return error.strerror or str(error)


def _target(wanted: Wanted) -> Target:
    typed = os.fspath(wanted.path)
    name = str(Path(typed)) + ("/" if len(typed) > 1 and typed.endswith("/") else "")  # a slash at the end names a folder
    try:
        number = 1 if name == "-" else descriptors.number_of(name)
        if number is not None:
            return _straight(wanted.option, name, number)
        mode = _mode_of(name)
        if mode is None or stat.S_ISREG(mode):
            return Target(wanted.option, name, Path(os.path.realpath(name)))
    except OSError as error:  # a name that is too long, or circular links
        raise TargetError(f"{wanted.option}: {name}: {reason(error)}") from None
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        return Target(wanted.option, name, None)
    what = "a folder" if stat.S_ISDIR(mode) else "neither a file nor a pipe"
    raise TargetError(f"{wanted.option}: {name} is {what}")


def _straight(option: str, name: str, number: int) -> Target:
    if descriptors.is_closed(number):
        raise TargetError(f"{option}: {name}: {descriptors.NAMES.get(number, 'it')} is closed")
    if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise TargetError(f"{option}: {name} is not open for writing")
    return Target(option, name, None, number)


def _mode_of(name: str) -> int | None:
    """The mode of the file at `name`; None if there is none, also for a dangling link."""
    try:
        return os.stat(name).st_mode
    except FileNotFoundError:
        folder = os.path.dirname(os.path.realpath(name))
        if not os.path.isdir(folder):
            raise OSError(errno.ENOENT, f"no such folder: {folder}") from None
        if name.endswith("/"):
            raise OSError(errno.EISDIR, "is the name of a folder") from None
        return None


def _status(target: Target) -> os.stat_result | None:
    """The status of a target's file or descriptor; None if the file does not exist yet."""
    try:
        return os.fstat(target.descriptor) if target.descriptor is not None else os.stat(target.file or target.name)
    except FileNotFoundError:
        return None


def _require_distinct(targets: Sequence[Target]) -> None:
    taken: dict[tuple[int, int] | str, str] = {}
    written = {target.descriptor for target in targets}
    for number in (1, 2):
        status = os.fstat(number) if not descriptors.is_closed(number) else None
        if status is not None and stat.S_ISREG(status.st_mode) and number not in written:
            taken[status.st_dev, status.st_ino] = f"where {descriptors.NAMES[number]} goes"
    for target in targets:
        status = _status(target)
        if target.descriptor is None and status is not None and stat.S_ISCHR(status.st_mode):
            continue  # /dev/null may be given several times
        key = str(target.file) if status is None else (status.st_dev, status.st_ino)
        if key in taken:
            raise TargetError(f"{target.option}: {target.name} is {taken[key]}")
        taken[key] = f"the file of {target.option} as well" if target.file else f"what {target.option} writes to as well"


def _require_locks(targets: Sequence[Target], inputs: Sequence[str | os.PathLike[str]]) -> None:
    locks = [lock for target in targets if (lock := target.lock) is not None and lock.file is not None]
    for target in targets:
        try:
            if (lock := target.lock) is not None and lock.file is not None:
                require_lock(lock.file)
        except OSError as error:
            raise TargetError(f"{target.option}: {target.name} cannot be locked: {reason(error)}") from None
    _require_distinct([*targets, *locks])
    _require_no_input(locks, inputs)


def _identities(targets: Sequence[Target]) -> tuple[dict[tuple[int, int], Target], dict[str, Target]]:
    by_identity, by_path = {}, {}
    for target in targets:
        status = _status(target)
        if status is None:
            by_path[str(target.file)] = target
        elif stat.S_ISREG(status.st_mode):
            by_identity[status.st_dev, status.st_ino] = target
    return by_identity, by_path


def _found(
    by_identity: dict[tuple[int, int], Target], by_path: dict[str, Target], path: str | os.PathLike[str]
) -> Target | None:
    try:
        status = os.stat(path)
        return by_identity.get((status.st_dev, status.st_ino))
    except OSError:
        return by_path.get(os.path.realpath(path))
    except ValueError:  # no file name has a zero byte
        return None


def _require_no_input(targets: Sequence[Target], inputs: Iterable[str | os.PathLike[str]]) -> None:
    by_identity, by_path = _identities(targets)
    if not by_identity and not by_path:
        return
    for path in inputs:
        target = _found(by_identity, by_path, path)
        if target is not None:
            raise TargetError(f"{target.option}: {target.name} is one of the inputs ({os.fspath(path)}); it is left as it is")


def _require_own(wanted: Sequence[Wanted], targets: Sequence[Target], overwrite: bool) -> None:
    for each, target in zip(wanted, targets, strict=True):
        if target.file is None:
            continue
        option, name = target.option, target.name
        head = _head(target, target.file)
        if head and not each.kind.known(head):
            raise TargetError(f"{option}: {name} holds something else than {each.kind.what}; it is left as it is: {_AWAY}")
        if head and not (overwrite or each.kept):
            raise TargetError(f"{option}: {name} exists; {each.otherwise}")


def _head(target: Target, file: Path) -> bytes:
    """The first bytes of the existing file, empty if there is none. Raises TargetError if it could not be written."""
    if not os.access(file.parent, os.W_OK | os.X_OK):
        raise TargetError(f"{target.option}: {target.name}: its folder cannot be written to")
    try:
        with file.open("r+b") as content:
            return content.read(_HEAD)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise TargetError(f"{target.option}: {target.name} cannot be written: {reason(error)}") from None
