"""A mini-batch's windows, cut on the photographs' device: on a GPU by the view kernels, on the cpu from Pillow's planes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dcnn_fast.nets import Input
from dcnn_fast.ops import views
from dcnn_fast.ops.launch import copied

Place = tuple[int, int, int, bool]  # photograph, top, left, flip, as `ops.views.windows` takes them


def cut_batch(
    images: Sequence[Tensor],
    inputs: Sequence[Input],
    places: Sequence[Sequence[Place]],
    device: torch.device | str | None = None,
) -> tuple[Tensor, ...]:
    """The network's inputs: for input i the windows at places[i], [n, 3, window, window] uint8 pixels 0-255.

    images: decoded photographs of any sizes, uint8 [H, W, 3], on one device; device: where they are copied to first, if not
    there. places: (photograph, top, left, flip) each, offsets in the photograph's plane of that input's view, as
    `views.draw_windows` gives them. One launch an input on a GPU; the planes themselves are never made there.

    Windows are bytes on every device, Pillow's own wherever its two passes go in the kernel's order (within one level
    elsewhere): mean and scale stay with the column, which takes them off in its parameters' dtype, so that a step on a GPU
    starts from the numbers of a step on the cpu. In memory a pixel is one word of four bytes, the fourth zero; the
    result leaves it out, as weights have three channels. Raises ValueError naming the argument, BackendError where the
    device has no view kernels.
    """
    if len(places) != len(inputs):
        raise ValueError(f"places must be one list for each of {len(inputs)} inputs, got {len(places)}")
    if device is not None:
        where = torch.device(device)
        images = [image if image.device.type == where.type else copied(image, where) for image in images]
    return tuple(
        views.windows(images, wanted.view, cuts, size=wanted.plane, window=wanted.window)[:, :3]
        for wanted, cuts in zip(inputs, places, strict=True)
    )
