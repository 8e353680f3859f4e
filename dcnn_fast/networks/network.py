"""Networks as data: columns, concatenated and mapped to labels."""

from __future__ import annotations

from dataclasses import dataclass, field

from dcnn_fast.networks import bounds
from dcnn_fast.networks.backbone import BackboneColumn
from dcnn_fast.networks.cost import require_affordable
from dcnn_fast.networks.graph import GraphColumn
from dcnn_fast.networks.layers import Column, require_integer
from dcnn_fast.printable import quoted

AnyColumn = Column | BackboneColumn | GraphColumn


@dataclass(frozen=True)
class Network:
    """Columns whose last outputs are concatenated in order and mapped to the labels by one linear layer and a softmax.

    Args:
        name: The network's name.
        columns: The columns, at least one.
        labels: The names of the labels, at least two.
        notes: Remarks, which do not count in comparisons.
        attributes: The labels of a second task, learnt from the same features by a separate layer (paper eq. 3), or empty.
        long_side: The training photographs' long side, in pixels; larger photographs are reduced to it, antialiased, before
            views are made. None: no reduction.

    Raises:
        ValueError: An argument breaks a rule, or the network exceeds `networks.bounds`.
    """

    name: str
    columns: tuple[AnyColumn, ...]
    labels: tuple[str, ...] = ("low", "high")
    notes: str = field(default="", compare=False)
    attributes: tuple[str, ...] = ()
    long_side: int | None = None

    def __post_init__(self) -> None:
        if not self.columns:
            raise ValueError("Network: columns must hold at least one Column, got none")
        bounds.require_count("Network", "columns", self.columns, bounds.COLUMNS)
        bounds.require_text("Network", "name", self.name)
        bounds.require_text("Network", "notes", self.notes, 100 * bounds.NAME_LETTERS)
        for what, names in (("labels", self.labels), ("attributes", self.attributes)):
            bounds.require_count("Network", what, names, bounds.LABELS)
            for name in names:
                bounds.require_text("Network", what, name)
        if len(self.labels) < 2 or len(set(self.labels)) != len(self.labels):
            raise ValueError(f"Network: labels must be at least two different names, got {quoted(self.labels)}")
        if len(self.attributes) == 1 or len(set(self.attributes)) != len(self.attributes):
            raise ValueError(f"Network: attributes must be none or at least two different names, got {quoted(self.attributes)}")
        require_affordable("Network", self.columns, len(self.labels) + len(self.attributes))
        if self.long_side is not None:
            require_integer("Network", "long_side", self.long_side, 1)

    @property
    def windows_differ(self) -> bool:
        """Whether a photograph's views show different pixels, so that they can disagree."""
        return any(column.view == "local" or column.window != column.plane for column in self.columns)

    def column_keys(self) -> tuple[str, ...]:
        """The keys of the columns for the view generator.

        Returns:
            Each column's view and its ordinal among equal views, e.g. ("local:0", "warp:0").
        """
        views = [column.view for column in self.columns]
        return tuple(f"{view}:{views[:i].count(view)}" for i, view in enumerate(views))
