"""Planes made by launches of one shape, as PTX in the simulator: the bytes of a launch made for the photographs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dcnn_fast.ops.launch import launch
from dcnn_fast.ops.records import CUT, SOURCE
from dcnn_fast.ops.tables import matrix, records
from dcnn_fast.ops.views import ViewParams, cuda, fixed
from dcnn_fast.ops.views.backend import Cutting
from dcnn_fast.ops.views.cuts import Cut
from tests.ops.on_cpu import kernels_on_cpu
from tests.ops.views.photos import among_ones

pytestmark = pytest.mark.gpu

SHAPES = [(1, 1), (7, 5), (63, 65), (300, 199), (1, 300), (300, 1), (900, 3), (241, 320), (48, 48), (33, 47)]


def made_of(view, plane, photos):
    """The planes, and the launches that made them."""
    planes = fixed.FixedPlanes.of(view, plane, len(photos), torch.device("cpu"))
    planes.out.fill_(77)
    cuts = matrix(np.array([planes.cut(i) for i in range(len(photos))], CUT))
    resizes = torch.zeros(len(photos), fixed.RESIZE_FIELDS, dtype=torch.int64)
    for i, each in enumerate(photos):
        height, width, _ = each.shape
        row = records(cuts, CUT)[i]
        row["address"], row["pitch"], row["height"], row["width"] = each.data_ptr(), 3 * width, height, width
        resizes[i] = torch.tensor(fixed.resize_of(ViewParams(height, width, view, plane)))
    launches = planes.launches(cuts, resizes, photos)
    for what in launches:
        launch(what)
    return planes.out, launches


def expected_of(view, plane, photos):
    """The planes by a launch with tables made on the host."""
    params = [ViewParams(*each.shape[:2], view, plane) for each in photos]
    out = [torch.empty(plane, plane, 4, dtype=torch.uint8) for _ in photos]
    cuda.BACKEND.run(Cutting(photos, [Cut(i, one, 0, 0, *one.shape) for i, one in enumerate(params)], out))
    return torch.stack(out)


@pytest.mark.parametrize(("view", "plane"), [("warp", 48), ("center", 37), ("pad", 48)])
def test_planes_of_photographs_of_any_sizes_are_those_that_tables_of_the_host_give(view, plane):
    photos = [among_ones(*shape) for shape in SHAPES if max(shape) <= 65 * plane]
    with kernels_on_cpu():
        found, _ = made_of(view, plane, photos)
        assert torch.equal(found, expected_of(view, plane, photos))


def test_the_launches_shape_is_that_of_the_planes():
    with kernels_on_cpu():
        launches = [made_of("center", 24, [among_ones(*shape)])[1] for shape in ((24, 24), (61, 300))]
    for one, other in zip(*launches, strict=True):
        assert (one.kernel, one.grid, one.constants) == (other.kernel, other.grid, other.constants)
        shapes = [{name: getattr(value, "shape", value) for name, value in what.args.items()} for what in (one, other)]
        assert shapes[0] == shapes[1]


def test_photographs_without_room_are_refused_by_name():
    assert fixed.refused(ViewParams(16000, 16000, "warp")) is None
    assert "17000 x 400 is too long for a plane of 256" in fixed.refused(ViewParams(400, 17000, "warp"))
    assert "more than 1024 along a side" in fixed.refused(ViewParams(400, 400, "warp", 1025))
    assert fixed.refused(ViewParams(300, 17000, "local")) is None
    assert "of 300 x 255 is enlarged for its local view" in fixed.refused(ViewParams(255, 300, "local"))


@pytest.mark.parametrize(("height", "width", "view"), [(1040, 260, "warp"), (1055, 20, "center"), (17, 1040, "pad")])
def test_the_longest_filters_that_are_let_through_have_room(height, width, view):
    params = ViewParams(height, width, view, 16)
    assert fixed.refused(params) is None, params.resized
    with kernels_on_cpu():
        found, _ = made_of(view, 16, [among_ones(height, width)])
        assert torch.equal(found, expected_of(view, 16, [among_ones(height, width)]))


def test_windows_are_read_by_their_addresses_and_strides():
    whole, plane = among_ones(40, 51), torch.from_numpy(np.random.default_rng(1).integers(0, 256, (30, 30, 4)).astype(np.uint8))
    side, corners = 21, [(0, 0), (19, 30), (7, 11)]
    sources = np.zeros(4, SOURCE)
    for row, (top, left) in zip(sources, corners, strict=False):
        row["address"], row["row"], row["col"], row["channel"] = whole.data_ptr() + 3 * (51 * top + left), 3 * 51, 3, 1
    sources[3] = (plane.data_ptr() + 4 * (30 * 9 + 2), 0, 4 * 30, 4, 1)
    out = torch.zeros(4, side, side, 3, dtype=torch.uint8)
    with kernels_on_cpu():
        launch(fixed.windows_launch(matrix(sources), out, [whole, plane]))
    expected = [whole[top : top + side, left : left + side] for top, left in corners]
    assert torch.equal(out, torch.stack([*expected, plane[9 : 9 + side, 2 : 2 + side, :3]]))
