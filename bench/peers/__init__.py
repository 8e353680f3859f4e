"""Today's libraries, given a column's weights: torch eager and compiled, ONNX Runtime, OpenVINO."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec

from torch import Tensor, nn

from bench.peers import onnx_peers, torch_peer
from bench.peers.onnx_model import onnx_model
from bench.peers.plain import PlainBlocks
from bench.peers.settings import Peer, Setting, fastest, known
from bench.row import precision_of

BF16_ERROR, FP32_ERROR = 3e-2, 2e-5


Families = Mapping[str, Sequence[Setting]]  # settings to try, by the peers' names


def build(families: Families, x: Tensor, *, search: bool = True) -> dict[str, Peer]:
    """Every peer in its fastest setting for inputs like `x`, without a search in its first. The caller sets torch's threads."""
    if not search:
        return known_of(families, {name: settings[0].name for name, settings in families.items()})
    return {name: fastest(settings, x) for name, settings in families.items()}


def known_of(families: Families, found: Mapping[str, str]) -> dict[str, Peer]:
    """Every peer in the setting that `found` names for it, without trying it."""
    return {name: known(settings, found[name]) for name, settings in families.items()}


def settings_of(
    net: PlainBlocks, shape: tuple[int, int, int], threads: int, *, compiled: bool, bf16: bool
) -> dict[str, list[Setting]]:
    """`settings_for` a column's blocks and layers, for inputs of `shape` [C, H, W]."""
    return settings_for(net, partial(onnx_model, net, shape), threads, compiled=compiled, bf16=bf16)


def settings_for(
    net: nn.Module, model: Callable[[], bytes], threads: int, *, compiled: bool, bf16: bool
) -> dict[str, list[Setting]]:
    """The settings to try of every installed peer.

    net: in torch's own operators. model: returns the same network as ONNX. compiled, bf16: include torch.compile; include the
    libraries' bf16.
    """
    families = {"torch eager": torch_peer.eager(net)}
    if bf16:
        families["torch eager bf16"] = torch_peer.eager(net, bf16=True)
    if compiled:
        families["torch.compile"] = torch_peer.compiled(net)
        if bf16:
            families["torch.compile bf16"] = torch_peer.compiled(net, bf16=True)
    if find_spec("onnx"):
        written = model()
        if find_spec("onnxruntime"):
            families["ONNX Runtime"] = onnx_peers.onnx_runtime(written, threads)
        if find_spec("openvino"):
            families["OpenVINO"] = onnx_peers.openvino(written, threads)
            if bf16 and onnx_peers.openvino_has_bf16():
                families["OpenVINO bf16"] = onnx_peers.openvino(written, threads, bf16=True)
    return families


def tolerance(name: str) -> float:
    """The allowed difference of a rival's output from the fp32 one, relative to the largest value."""
    return BF16_ERROR if precision_of(name) == "bf16" else FP32_ERROR


__all__ = ["Peer", "PlainBlocks", "Setting", "build", "known_of", "settings_for", "settings_of", "tolerance"]
