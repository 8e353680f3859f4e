"""Networks as JSON objects in model files. The key `lite` marks a column of a backbone, `layers` a column of single layers."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from dcnn_fast.networks import bounds
from dcnn_fast.networks.backbone import BackboneColumn
from dcnn_fast.networks.graph import GraphColumn
from dcnn_fast.networks.graph_layers import KINDS, AnyLayer, kind_of
from dcnn_fast.networks.layers import Block, Column, CrossMapNorm, Norm, Pool, SameMapNorm
from dcnn_fast.networks.network import AnyColumn, Network
from dcnn_fast.printable import quoted, shortened

_T = TypeVar("_T")
_NORMS: dict[str, type[Norm]] = {"cross_map": CrossMapNorm, "same_map": SameMapNorm}


def _norm_from_dict(data: dict[str, Any]) -> Norm:
    fields = dict(data)
    kind = fields.pop("kind", None)
    if not isinstance(kind, str) or kind not in _NORMS:
        raise ValueError(f"norm kind must be one of {', '.join(_NORMS)}; got {quoted(kind)}")
    return _build(_NORMS[kind], fields)


def _build(cls: type[_T], data: Any) -> _T:
    """`cls(**data)` with unknown and missing names reported as ValueError."""
    if not isinstance(data, dict):
        raise ValueError(f"{cls.__name__} must be a JSON object, got {type(data).__name__}")
    known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(data) - known)
    if unknown:
        raise ValueError(f"{cls.__name__} has no field named {shortened(unknown)}")
    try:
        return cls(**data)
    except TypeError as error:
        raise ValueError(f"{cls.__name__}: {error}") from None


def _sequence(owner: str, value: Any, most: int) -> tuple[Any, ...]:
    """The values of a list of at most `most` entries; a longer one is refused before anything is made of it."""
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{owner} must be a list, got {type(value).__name__}")
    if len(value) > most:
        raise ValueError(f"{owner} must have at most {most} entries, got {len(value)}")
    return tuple(value)


def _block_from_dict(data: Any) -> Block:
    if not isinstance(data, dict):
        raise ValueError(f"Block must be a JSON object, got {type(data).__name__}")
    fields = dict(data)
    if fields.get("pool") is not None:
        fields["pool"] = _build(Pool, fields["pool"])
    if fields.get("norm") is not None:
        if not isinstance(fields["norm"], dict):
            raise ValueError(f"norm must be a JSON object, got {type(fields['norm']).__name__}")
        fields["norm"] = _norm_from_dict(fields["norm"])
    return _build(Block, fields)


def _graph_from_dict(fields: dict[str, Any]) -> GraphColumn:
    fields["layers"] = tuple(map(_layer_from_dict, _sequence("GraphColumn.layers", fields["layers"], bounds.LAYERS)))
    if "mean" in fields:
        fields["mean"] = _sequence("GraphColumn.mean", fields["mean"], bounds.CHANNELS)
    return _build(GraphColumn, fields)


def _layer_from_dict(data: Any) -> AnyLayer:
    if not isinstance(data, dict):
        raise ValueError(f"a layer must be a JSON object, got {type(data).__name__}")
    fields = dict(data)
    kind = fields.pop("layer", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"layer must be one of {', '.join(KINDS)}; got {quoted(kind)}")
    for name, most in (
        ("inputs", bounds.INPUTS),
        ("values", 8),
        ("coefficients", bounds.INPUTS),
        ("connections", bounds.WIDTH),
    ):
        if name in fields:
            fields[name] = _sequence(f"{kind}.{name}", fields[name], most)
    return _build(KINDS[kind], fields)


def _column_from_dict(data: Any) -> AnyColumn:
    if not isinstance(data, dict):
        raise ValueError(f"Column must be a JSON object, got {type(data).__name__}")
    fields = dict(data)
    if "lite" in fields:
        for name in ("fc", "stages"):
            if name in fields:
                fields[name] = _sequence(f"BackboneColumn.{name}", fields[name], bounds.FC_LAYERS)
        return _build(BackboneColumn, fields)
    if "layers" in fields:
        return _graph_from_dict(fields)
    fields["blocks"] = tuple(
        _block_from_dict(block) for block in _sequence("Column.blocks", fields.get("blocks"), bounds.BLOCKS)
    )
    for name in ("fc", "mean"):
        if name in fields:
            fields[name] = _sequence(f"Column.{name}", fields[name], bounds.FC_LAYERS)
    return _build(Column, fields)


def network_from_dict(data: Any) -> Network:
    """The network of a dict that `network_to_dict` made.

    Args:
        data: The dict, as JSON reads it.

    Returns:
        The network.

    Raises:
        ValueError: The data is anything else; the message names the fault.
    """
    if not isinstance(data, dict):
        raise ValueError(f"Network must be a JSON object, got {type(data).__name__}")
    fields = dict(data)
    columns = _sequence("Network.columns", fields.get("columns"), bounds.COLUMNS)
    fields["columns"] = tuple(_column_from_dict(column) for column in columns)
    for key, default in (("labels", ("low", "high")), ("attributes", ())):
        names = _sequence(f"Network.{key}", fields.get(key, default), bounds.LABELS)
        if not all(isinstance(name, str) for name in names):
            raise ValueError(f"Network.{key} must be names, got {quoted(names)}")
        fields[key] = names
    return _build(Network, fields)


def network_to_dict(network: Network) -> dict[str, Any]:
    """The whole network, ready for JSON.

    Args:
        network: The network.

    Returns:
        A dict that `network_from_dict` reads back to an equal Network.
    """

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
            kind = next((name for name, cls in _NORMS.items() if isinstance(value, cls)), None)
            if isinstance(value, Pool) and value.kind == "max":
                del fields["kind"]  # as in files by versions with one kind
            if isinstance(value, AnyLayer):
                return {"layer": kind_of(value), **fields}
            return fields if kind is None else {"kind": kind, **fields}
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        return value

    result: dict[str, Any] = plain(network)
    if network.long_side is None:
        del result["long_side"]  # as in files by versions without it
    return result
