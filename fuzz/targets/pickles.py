"""cuda-convnet's checkpoints: Python 2 pickles, which are interpreted and never loaded."""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Mapping
from random import Random

from dcnn_fast.nets import ModelError, import_convnet
from fuzz.target import Target, file_of
from tests.nets.convnet_writer import pickled
from tests.nets.test_convnet_checkpoint import checkpoint, layers

# Opcodes to insert anywhere: those that build, copy, call and memoise.
_PIECES = (
    b"}", b"]", b")", b"(", b"t", b"u", b"e", b"a", b"s", b"b", b"R", b"0", b"1", b"2", b"N", b"\x85", b"\x86", b"\x87",
    b"\x88", b"q\x00", b"h\x00", b"q\x01", b"h\x01", b"K\x07",
    b"J\xff\xff\xff\x7f", b"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"I99999999999999999999\n", b"F1e400\n", b"U\x03abc", b"X\x03\x00\x00\x00abc", b"c_codecs\nencode\n", b"U\x06latin1",
    b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy.core.multiarray\nscalar\n",
    b"ccollections\nOrderedDict\n", b"ccopy_reg\n_reconstructor\n", b"coptions\nOption\n", b"cos\nsystem\n",
    b"(coptions\nOption\no",
)  # fmt: skip


def _read(data: bytes) -> None:
    import_convnet(file_of(data, "checkpoint"))


def _seeds() -> Mapping[str, bytes]:
    made = layers()
    return {
        "old": pickled(checkpoint(made)),
        "new": pickled(checkpoint(made, 2)),
        "one column": pickled(checkpoint(made[:12])),
        "plain": pickle.dumps({"model_state": {"layers": [{"name": "data", "type": "data"}]}, "op": {}}, 2),
        "text": pickle.dumps({"model_state": {"layers": [], "epoch": 1.5, "long": 10**40}}, 0),
    }


def _opcodes(data: bytes) -> list[bytes]:
    """The pickle split into opcodes with their arguments, as far as it can be parsed; the rest as one piece."""
    starts: list[int] = []
    try:
        for _, _, place in pickletools.genops(data):
            starts.append(int(place or 0))
    except Exception:  # it is damaged from here on
        pass
    starts = starts or [0]
    return [data[a:b] for a, b in zip(starts, [*starts[1:], len(data)], strict=True)]


def _mutated(data: bytes, longest: int, random: Random) -> bytes:
    """Drop, insert, repeat or swap opcodes."""
    parts = _opcodes(data)
    for _ in range(random.randint(1, 4)):
        at, until = sorted(random.randrange(len(parts) + 1) for _ in range(2))
        choice = random.randrange(4)
        if choice == 0:
            del parts[at : min(until, at + 8)]
        elif choice == 1:
            parts.insert(at, random.choice(_PIECES))
        elif choice == 2:
            parts[at:at] = parts[at : min(until, at + 16)] * random.choice((1, 2, 100))
        elif parts:
            parts[min(at, len(parts) - 1)] = random.choice((*_PIECES, random.choice(parts)))
    return b"".join(parts)[:longest]


TARGET = Target(_read, (ModelError,), _seeds, longest=1 << 16, mutated=_mutated)
