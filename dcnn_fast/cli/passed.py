"""Describes the files that a search of folders has passed over."""

from __future__ import annotations

from dcnn_fast.data.folders import Passed


def passed_over(passed: Passed) -> list[str]:
    """A line for each kind of reason for which a search has passed over files."""
    lines = []
    for suffixes, what, whats in (
        (passed.unreadable, "of a kind this cannot read", "of kinds this cannot read"),
        (passed.with_extra, "that the extra `photos` would read", "that the extra `photos` would read"),
        (passed.when_named, "of a kind that is read only when named", "of kinds that are read only when named"),
    ):
        if suffixes:
            each = ", ".join(f"{suffix} {count}" for suffix, count in sorted(suffixes.items()))
            lines.append(f"{_count(suffixes.total(), 'file')} {what if len(suffixes) == 1 else whats}: {each}")
    hidden = (
        (passed.hidden_folders, "hidden folder"),
        (passed.hidden_files, "hidden file"),
        (passed.system_folders, "system folder"),
    )
    if any(count for count, _ in hidden):
        lines.append(f"passed over: {', '.join(_count(n, what) for n, what in hidden if n)} (--hidden takes them)")
    for count, what, how in (
        (passed.linked_folders, "link to a folder", "--follow goes there"),
        (passed.subfolders, "subfolder", "-r searches them"),
        (passed.raw_files, "raw file", "beside a picture of the same name"),
        (passed.excluded, "file or folder", "excluded by --exclude"),
    ):
        if count:
            lines.append(f"passed over: {_count(count, what)} ({how})")
    return lines


def _count(number: int, what: str) -> str:
    if number == 1:
        return f"1 {what}"
    return f"{number} " + {"link to a folder": "links to folders", "file or folder": "files or folders"}.get(what, what + "s")
