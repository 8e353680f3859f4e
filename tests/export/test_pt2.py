"""`windows.pt2`: only aten's operators, any number of windows, and no need of this package."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
import torch

from dcnn_fast.export.aten import pt2_file
from dcnn_fast.export.expected import given_of, probabilities
from dcnn_fast.export.plain import PlainNetwork
from dcnn_fast.networks import SameMapNorm
from tests.export import networks
from tests.export.networks import KINDS, NORMS, overhanging, photograph

WITHOUT_US = """if True:
    import sys
    class Missing:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] == "dcnn_fast":
                raise ModuleNotFoundError(name)
    sys.meta_path.insert(0, Missing())
    import numpy as np, torch
    program = torch.export.load(sys.argv[1])
    operators = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert all(name.startswith("aten.") or "getitem" in name for name in operators), operators
    windows = [torch.from_numpy(each) for each in np.load(sys.argv[2]).values()]
    for count in (1, 2, 5):
        found = program.module()(*(each[:count] for each in windows))
        np.save(f"{sys.argv[3]}{count}.npy", found.numpy())
"""


def test_it_runs_without_this_package_for_any_number_of_windows(tmp_path):
    model = networks.of_columns(overhanging(SameMapNorm(3, 0.05)), networks.small.column("local"))
    windows = [each.windows(5) for each in given_of(model, photograph(), 5)]
    (tmp_path / "w.pt2").write_bytes(pt2_file(model.net, '{"said": 1}'))
    np.savez(tmp_path / "w.npz", *windows)
    arguments = [tmp_path / "w.pt2", tmp_path / "w.npz", tmp_path / "found"]
    done = subprocess.run([sys.executable, "-c", WITHOUT_US, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    wanted = probabilities(model, tuple(windows))
    for count in (1, 2, 5):
        np.testing.assert_allclose(np.load(tmp_path / f"found{count}.npy"), wanted[:count], rtol=0, atol=1e-6)
    kept = {"dcnn_fast.json": ""}
    torch.export.load(io.BytesIO((tmp_path / "w.pt2").read_bytes()), extra_files=kept)
    assert kept["dcnn_fast.json"] in ('{"said": 1}', b'{"said": 1}')


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_lowered_computes_what_the_network_does(kind):
    model = KINDS[kind]()
    windows = tuple(each.windows(3) for each in given_of(model, photograph(90, 120), 3))
    with torch.no_grad():
        found = PlainNetwork(model.net)(*map(torch.from_numpy, windows))
    np.testing.assert_allclose(found.numpy(), probabilities(model, windows), rtol=0, atol=1e-5)


@pytest.mark.parametrize("order", ["conv-pool-norm", "conv-norm-pool"])
@pytest.mark.parametrize("norm", [None, *NORMS], ids=str)
def test_blocks_of_every_norm(norm, order):
    model = networks.of_columns(overhanging(norm, order), overhanging(norm, order, rounding="down", plane=44, window=41))
    windows = tuple(each.windows(3) for each in given_of(model, photograph(), 3))
    with torch.no_grad():
        found = PlainNetwork(model.net)(*map(torch.from_numpy, windows))
    np.testing.assert_allclose(found.numpy(), probabilities(model, windows), rtol=0, atol=1e-5)
