"""SqueezeNet as a column of our blocks computes SqueezeNet's results."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from dcnn_fast import networks
from dcnn_fast.nets import ModelError, import_squeezenet
from dcnn_fast.networks.squeezenet import FIRES


def state(seed=0):
    """Random weights under torchvision's names."""
    generator = torch.Generator().manual_seed(seed)
    made = {}

    def convolution(name, filters, channels, size):
        made[f"{name}.weight"] = (
            torch.randn(filters, channels, size, size, generator=generator) * (2 / channels / size**2) ** 0.5
        )
        made[f"{name}.bias"] = torch.randn(filters, generator=generator) * 0.1

    convolution("features.0", 96, 3, 7)
    channels = 96
    for fire in FIRES:
        convolution(f"{fire.name}.squeeze", fire.squeeze, channels, 1)
        convolution(f"{fire.name}.expand1x1", fire.expand, fire.squeeze, 1)
        convolution(f"{fire.name}.expand3x3", fire.expand, fire.squeeze, 3)
        channels = 2 * fire.expand
    return made


def torchvisions(weights, windows):
    """torchvision's squeezenet1_0 up to the mean of features.12, layer by layer, on pixels of 0 to 255."""
    mean, deviation = (torch.tensor(v).reshape(1, 3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    x = (windows / 255 - mean) / deviation
    x = F.conv2d(x, weights["features.0.weight"], weights["features.0.bias"], stride=2).relu()
    for index in (3, 4, 5, 7, 8, 9, 10, 12):
        if index in (3, 7, 12):
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)

        def conv(name, x, padding=0, index=index):
            name = f"features.{index}.{name}"
            return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=padding).relu()

        x = conv("squeeze", x)
        x = torch.cat([conv("expand1x1", x), conv("expand3x3", x, 1)], dim=1)
    return x.mean(dim=(2, 3))


def features(column, windows):
    """The input of the column's first fully-connected layer, which is made the identity; ReLU keeps its values."""
    with torch.no_grad():
        column.fc[0].weight.copy_(torch.eye(512))
        column.fc[0].bias.zero_()
        return column.eval()(windows)


@pytest.mark.parametrize("window", [63, 97])
def test_the_column_gives_torchvisions_features(window):
    weights = state()
    column = import_squeezenet(weights, plane=window, window=window, fc=(512,))
    windows = torch.randint(0, 256, (2, 3, window, window), generator=torch.Generator().manual_seed(1)).byte()
    expected = torchvisions(weights, windows.float())
    torch.testing.assert_close(features(column, windows), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_the_column_gives_the_trained_networks_features(data_dir):
    weights = {name: value.float() for name, value in load_file(data_dir / "squeezenet" / "squeezenet1_0.safetensors").items()}
    column = import_squeezenet(data_dir / "squeezenet" / "squeezenet1_0.safetensors", plane=127, window=127, fc=(512,))
    windows = torch.randint(0, 256, (1, 3, 127, 127), generator=torch.Generator().manual_seed(1)).byte()
    expected = torchvisions(weights, windows.float())
    torch.testing.assert_close(features(column, windows), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_it_is_frozen_and_describes_itself():
    column = import_squeezenet(state(), "center")
    assert column.spec.frozen and column.spec.view == "center" and column.spec.features == 512
    assert not any(parameter.requires_grad for parameter in column.parameters())
    assert column.spec.extents()[-1] == 13


def test_wrong_weights_and_windows_are_named(tmp_path):
    weights = state()
    with pytest.raises(
        ModelError, match=r"features\.4\.squeeze\.weight must have shape \[16, 128, 1, 1\], got \[16, 64, 1, 1\]"
    ):
        import_squeezenet({**weights, "features.4.squeeze.weight": torch.zeros(16, 64, 1, 1)})
    del weights["features.12.expand3x3.bias"]
    save_file(weights, tmp_path / "short.safetensors")
    with pytest.raises(ModelError, match=r"got none named features\.12\.expand3x3\.bias"):
        import_squeezenet(tmp_path / "short.safetensors")
    with pytest.raises(ModelError, match="not a readable state dict"):
        import_squeezenet(tmp_path / "missing.safetensors")
    with pytest.raises(ValueError, match="window must be odd"):
        networks.squeezenet_column(window=224, plane=224)
