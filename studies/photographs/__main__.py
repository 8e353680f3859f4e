"""`python -m studies.photographs DATA`: prints the tables of docs/rows.md. DATA: the folder of real photographs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np

from dcnn_fast import Scorer
from dcnn_fast.photographs import FAULTS, Look, Member, find_faults, groups_of, look_at
from studies.photographs.changes import FAULTED, NEXT, SAME, Change, opened, photographs

_EVERY = 6  # every sixth photograph; the bounds were chosen on others
_MANY = 20_000


def main(data: Path) -> None:
    """Print all tables."""
    _faults(photographs(data, _EVERY, first=5))
    _groups(photographs(data, 1), photographs(data, _EVERY, first=5))
    _spread(photographs(data, 2 * _EVERY, first=5))
    _times(photographs(data, 40), sorted((data / "photos_large").glob("*.jpg")))


def _faults(paths: Sequence[Path]) -> None:
    said: dict[str, list[tuple[str, ...]]] = {"as it is": []}
    for path in paths:
        image = opened(path)
        said["as it is"].append(find_faults(np.asarray(image)).names)
        for changes in FAULTED.values():
            for what, change in changes.items():
                said.setdefault(what, []).append(find_faults(np.asarray(change(image))).names)
    print(f"\n{len(paths)} photographs\n\n| field | rule | said of photographs as they are | found |\n|---|---|---|---|")
    for fault in FAULTS:
        found = (f"{what}: {_share(fault.name in names for names in said[what])}" for what in FAULTED[fault.name])
        alarms = _share(fault.name in names for names in said["as it is"])
        print(f"| `{fault.name}` | {fault.rule} | {alarms} | {'; '.join(found)} |")


def _groups(different: Sequence[Path], changed: Sequence[Path]) -> None:
    members = [_member(path, str(path)) for path in different]
    pairs = len(members) * (len(members) - 1) // 2
    joined = [[Path(members[place].order).name for place in group] for group in groups_of(members)]
    print(f"\n{len(members)} different photographs, {pairs} pairs; joined: {joined}")
    apart = [_at(member, second) for second, member in enumerate(members[:100])]
    print(f"the first {len(apart)} as if taken a second apart; joined: {_names(apart)}")
    print(f"\n{len(changed)} photographs\n\n| change | found | found within ten seconds |\n|---|---|---|")
    for what, change in {**SAME, **NEXT}.items():
        twos = [(_member(path, "a"), _member(path, "b", change)) for path in changed]
        shots = [(_at(one, 0), _at(other, 2)) for one, other in twos]
        alone, burst = (_share(bool(groups_of(two)) for two in each) for each in (twos, shots))
        print(f"| {what} | {alone} | {burst} |")


def _names(members: Sequence[Member]) -> list[list[str]]:
    return [[Path(members[place].order).name for place in group] for group in groups_of(members)]


def _member(path: Path, order: str, change: Change | None = None) -> Member:
    image = opened(path)
    pixels = np.asarray(image if change is None else change(image))
    return Member(look_at(pixels), pixels.shape[1], pixels.shape[0], order)


def _at(member: Member, second: int) -> Member:
    taken = f"2024-05-01T12:{second // 60:02}:{second % 60:02}"
    return Member(member.look, member.width, member.height, member.order, taken=taken, camera="one")


def _spread(paths: Sequence[Path]) -> None:
    """The spread of the shipped model's score under changes that leave a photograph the same."""
    scorer, moved = Scorer(samples=1), dict[str, list[float]]()
    changes: Mapping[str, Change] = {what: SAME[what] for what in list(SAME)[:4] if "30" not in what}
    for path in paths:
        image = opened(path)
        before = _mean(scorer, np.asarray(image))
        for what, change in changes.items():
            moved.setdefault(what, []).append(_mean(scorer, np.asarray(change(image))) - before)
    print(f"\n{len(paths)} photographs\n\n| change | its deviation | 95 of 100 move the score by less than |\n|---|---|---|")
    every = {**moved, "all": [each for some in moved.values() for each in some]}
    for what, differences in every.items():
        print(f"| {what} | {np.std(differences):.4f} | {np.quantile(np.abs(differences), 0.95):.4f} |")


def _mean(scorer: Scorer, pixels: np.ndarray) -> float:
    mean = scorer.score(pixels).mean
    assert mean is not None
    return mean


def _times(paths: Sequence[Path], originals: Sequence[Path]) -> None:
    pixels = [np.asarray(opened(path)) for path in paths]
    large = [np.asarray(opened(path)) for path in originals]
    print("\n| what | milliseconds of processor time |\n|---|---|")
    for name, images in (("0.3 megapixels", pixels), ("4 to 24 megapixels", large)):
        print(f"| faults, {name} | {_milliseconds(find_faults, images):.1f} |")
        print(f"| look, {name} | {_milliseconds(look_at, images):.1f} |")
    rng = np.random.default_rng(0)
    members = [
        Member(
            Look(rng.bytes(8).hex(), rng.bytes(192).hex(), 0.5), 3000, 2000, str(number), taken=_moment(number), camera="one"
        )
        for number in range(_MANY)
    ]
    began = time.process_time()
    groups_of(members)
    print(f"| groups of {_MANY} photographs | {1000 * (time.process_time() - began):.0f} |")


def _moment(number: int) -> str:
    return f"2024-05-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}"


def _milliseconds(work: Callable[[np.ndarray], object], images: Sequence[np.ndarray]) -> float:
    taken = []
    for image in images:
        began = time.process_time()
        work(image)
        taken.append(1000 * (time.process_time() - began))
    return median(taken)


def _share(hits: Iterable[bool]) -> str:
    every = list(hits)
    return f"{100 * sum(every) / len(every):.1f} %"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
