"""Today's libraries, given a column's weights: torch eager and compiled, ONNX Runtime, OpenVINO."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from torch import Tensor

from bench.peers import onnx_peers, torch_peer
from bench.peers.onnx_model import onnx_model
from bench.peers.plain import PlainBlocks
from bench.peers.settings import Peer, Setting, fastest, known
from bench.row import precision_of

BF16_ERROR, FP32_ERROR = 3e-2, 2e-5


def build(
    net: PlainBlocks, x: Tensor, threads: int, *, compiled: bool, bf16: bool, found: Mapping[str, str] | None = None
) -> dict[str, Peer]:
    """Every peer that is installed, in its fastest setting for inputs like `x`; torch's threads are the caller's to set.

    compiled, bf16: also torch.compile; also what the libraries have in bf16. found: the settings that an earlier call found,
    by the peers' names, to be taken without a search.
    """
    families = settings_of(net, (x.shape[1], x.shape[2], x.shape[3]), threads, compiled=compiled, bf16=bf16)
    return {
        name: fastest(settings, x) if found is None else known(settings, found[name]) for name, settings in families.items()
    }


def settings_of(
    net: PlainBlocks, shape: tuple[int, int, int], threads: int, *, compiled: bool, bf16: bool
) -> dict[str, list[Setting]]:
    """What there is to try, for inputs of `shape` [C, H, W], by the peers' names."""
    families = {"torch eager": torch_peer.eager(net)}
    if bf16:
        families["torch eager bf16"] = torch_peer.eager(net, bf16=True)
    if compiled:
        families["torch.compile"] = torch_peer.compiled(net)
        if bf16:
            families["torch.compile bf16"] = torch_peer.compiled(net, bf16=True)
    if find_spec("onnx"):
        model = onnx_model(net, shape)
        if find_spec("onnxruntime"):
            families["ONNX Runtime"] = onnx_peers.onnx_runtime(model, threads)
        if find_spec("openvino"):
            families["OpenVINO"] = onnx_peers.openvino(model, threads)
            if bf16:
                families["OpenVINO bf16"] = onnx_peers.openvino(model, threads, bf16=True)
    return families


def tolerance(name: str) -> float:
    """How far a rival's output may lie from the fp32 one, relative to the largest value."""
    return BF16_ERROR if precision_of(name) == "bf16" else FP32_ERROR


__all__ = ["Peer", "PlainBlocks", "Setting", "build", "settings_of", "tolerance"]
