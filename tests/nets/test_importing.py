"""torchvision's AlexNet as a column computes torchvision's results."""

from __future__ import annotations

import pickle

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from dcnn_fast.nets import ModelError, import_torchvision_alexnet

LAYERS = {
    "features.0": (64, 3, 11), "features.3": (192, 64, 5), "features.6": (384, 192, 3), "features.8": (256, 384, 3),
    "features.10": (256, 256, 3),
}  # fmt: skip


@pytest.fixture(scope="module")
def state():
    generator = torch.Generator().manual_seed(0)
    made = {}
    for name, (filters, channels, size) in LAYERS.items():
        made[f"{name}.weight"] = (
            torch.randn(filters, channels, size, size, generator=generator) * (2 / channels / size**2) ** 0.5
        )
        made[f"{name}.bias"] = torch.randn(filters, generator=generator) * 0.1
    for name, inputs, outputs in (("classifier.1", 9216, 4096), ("classifier.4", 4096, 4096)):
        # Each row begins one value further on in the same memory: rows differ, in 50 KB instead of 150 MB.
        draws = torch.randn(inputs + outputs, generator=generator) * (2 / inputs) ** 0.5
        made[f"{name}.weight"] = draws.as_strided((outputs, inputs), (1, 1))
        made[f"{name}.bias"] = torch.randn(outputs, generator=generator) * 0.1
    return made


def torchvisions(w, windows):
    """torchvision's alexnet up to the relu of classifier.5, on pixels of 0 to 255."""
    mean, deviation = (torch.tensor(v).reshape(1, 3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    x = (windows / 255 - mean) / deviation
    for index, stride, padding, pooled in ((0, 4, 2, 1), (3, 1, 2, 1), (6, 1, 1, 0), (8, 1, 1, 0), (10, 1, 1, 1)):
        x = F.conv2d(x, w[f"features.{index}.weight"], w[f"features.{index}.bias"], stride, padding).relu()
        x = F.max_pool2d(x, 3, 2) if pooled else x
    x = F.adaptive_avg_pool2d(x, 6).flatten(1)
    for index in (1, 4):
        x = F.linear(x, w[f"classifier.{index}.weight"], w[f"classifier.{index}.bias"]).relu()
    return x


def test_the_column_computes_torchvisions_features(state, tmp_path):
    torch.save({name: value.contiguous() for name, value in state.items()}, tmp_path / "alexnet.pth")
    column = import_torchvision_alexnet(tmp_path / "alexnet.pth", "center").eval()
    assert column.spec.view == "center" and column.spec.fc == (4096, 4096)
    windows = torch.randint(0, 256, (1, 3, 224, 224), generator=torch.Generator().manual_seed(1)).byte()
    expected = torchvisions(state, windows.float())
    with torch.no_grad():
        found = column(windows)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_layers_of_ones_own_follow(state):
    column = import_torchvision_alexnet(state, fc=(16,), seed=3)
    assert column.spec.fc == (4096, 4096, 16)
    assert torch.equal(column.fc[1].weight, state["classifier.4.weight"])


class Evil:
    def __reduce__(self):
        return print, ("loaded",)


def test_other_files_are_refused(state, tmp_path, capsys):
    save_file({"features.0.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match=r"features\.0\.weight must have shape \[64, 3, 11, 11\], got \[64, 3, 7, 7\]"):
        import_torchvision_alexnet(tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match=r"got none named classifier\.4\.bias"):
        import_torchvision_alexnet({name: value for name, value in state.items() if name != "classifier.4.bias"})
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil(), 2))
    torch.save([1], tmp_path / "list.pth")
    for name in ("evil.pth", "list.pth", "missing.pth"):
        with pytest.raises(ModelError, match=name):
            import_torchvision_alexnet(tmp_path / name)
    assert "loaded" not in capsys.readouterr().out
