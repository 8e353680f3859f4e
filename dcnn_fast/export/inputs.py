"""The inputs of exported programs for each column of a network, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dcnn_fast.networks import AnyColumn, Network, column_costs

KINDS = ("windows", "planes", "single")
_CHANNELS = 3
_MOST_BYTES = 2_000_000_000  # of weights in an ONNX file, a protobuf message, whose limit is 2**31 - 1


@dataclass(frozen=True)
class ColumnInputs:
    """Names and sizes for one column.

    key: as in `networks.Network.column_keys`, e.g. "local:0". view, plane, window: the column's.
    """

    key: str
    view: str
    plane: int
    window: int

    @property
    def windows_name(self) -> str:
        """The name of the input with its windows: uint8 [samples, window, window, 3]."""
        return f"windows_{self._name}"

    @property
    def plane_name(self) -> str:
        """The name of the input with its plane: uint8 [height, width, 3]."""
        return f"plane_{self._name}"

    @property
    def offsets_name(self) -> str:
        """The name of the input with its windows' offsets: int64 [samples, 2], (top, left)."""
        return f"offsets_{self._name}"

    @property
    def is_free(self) -> bool:
        """Whether planes may have any size from plane x plane upwards."""
        return self.view == "local"

    @property
    def is_whole(self) -> bool:
        """Whether all windows are the plane itself."""
        return not self.is_free and self.window == self.plane

    @property
    def plane_shape(self) -> tuple[int | str, int | str, int]:
        """The plane's axes; extents that depend on the photograph are names."""
        if self.is_free:
            return f"height_{self._name}", f"width_{self._name}", _CHANNELS
        return self.plane, self.plane, _CHANNELS

    @property
    def _name(self) -> str:
        return self.key.replace(":", "_")


def inputs_of(network: Network) -> tuple[ColumnInputs, ...]:
    """The inputs of each column, in order."""
    keyed = zip(network.column_keys(), network.columns, strict=True)
    return tuple(ColumnInputs(key, column.view, column.plane, column.window) for key, column in keyed)


def high_of(labels: Sequence[str]) -> int | None:
    """The index of the label whose probability is a score's `mean`; None unless there are two labels."""
    if len(labels) != 2:
        return None
    return labels.index("high") if "high" in labels else 1


def require_exportable(network: Network) -> None:
    """Raise ValueError for a network that scores no photographs, or whose weights exceed an ONNX file's limit."""
    for key, column in zip(network.column_keys(), network.columns, strict=True):
        if column.channels != _CHANNELS:
            raise ValueError(f"model must have columns of 3 channels to score photographs, {key} has {column.channels}")
    size = 4 * _parameters(network.columns, len(network.labels))
    if size > _MOST_BYTES:
        raise ValueError(f"model must have at most {_MOST_BYTES:,} bytes of weights for an ONNX file, got {size:,}")


def _parameters(columns: Sequence[AnyColumn], labels: int) -> int:
    joined = sum(column.outputs for column in columns)
    return labels * (joined + 1) + sum(layer.parameters for column in columns for layer in column_costs(column))
