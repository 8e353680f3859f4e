"""Any torch module as a frozen column beside ours (paper II-C, III-E)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dcnn_fast import networks
from dcnn_fast.nets.column import drawn
from dcnn_fast.nets.network import Input, MultiColumn


class Regularised(nn.Module):
    """RDCNN whose frozen column is a torch module; its feature vector is concatenated with those of our columns.

    Trains like a `MultiColumn`; its files are plain weights, as no spec can describe `module`.

    Args:
        net: The trained columns, which are shared; its label layer is not used.
        module: Returns [N, features], or more axes, which are flattened, for windows; it gets ((pixels / 255) - mean) /
            deviation, torchvision's convention, in float32. It is put in evaluation mode permanently, without gradients, and
            its parameters are not parameters of this network.
        features: The number of the module's features for a window.
        view: The view that the module sees.
        plane: The side of the view's plane, in pixels.
        window: The side of the module's input, in pixels.
        mean: The mean of each channel, for pixels from 0 to 1.
        deviation: The deviation of each channel, for pixels from 0 to 1.
        seed: The seed of the label layer's initial weights.

    Raises:
        ValueError: The module does not give `features` numbers for a window, the window exceeds the plane, or there is no such
            view.
    """

    def __init__(
        self,
        net: MultiColumn,
        module: nn.Module,
        *,
        features: int,
        view: networks.View = "warp",
        plane: int = 256,
        window: int = 224,
        mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
        deviation: tuple[float, float, float] = (0.229, 0.224, 0.225),
        seed: int = 0,
    ) -> None:
        super().__init__()
        networks.require_window("Regularised", plane, window)
        networks.require_choice("Regularised", "view", view, networks.VIEWS)
        self.columns = net.columns
        self._of_columns = net.inputs
        self._frozen = (module.eval().requires_grad_(False),)  # in a tuple, so that torch does not register it as a submodule
        views = [column.view for column in net.spec.columns]
        self._input = Input(f"{view}:{views.count(view)}", view, plane, window, net.spec.long_side)
        self._mean = torch.tensor(mean, dtype=torch.float32, device="cpu").reshape(1, 3, 1, 1) * 255
        self._deviation = torch.tensor(deviation, dtype=torch.float32, device="cpu").reshape(1, 3, 1, 1) * 255
        self.label = nn.Linear(net.label.in_features + features, net.label.out_features)
        self._initialise(seed)
        found = self.attributes(torch.zeros(1, 3, window, window, dtype=torch.uint8, device="cpu")).shape
        if found != (1, features):
            raise ValueError(f"module must give {features} features for a window, got {list(found[1:])}")

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The inputs of `forward`, in order; the module's windows come last."""
        return (*self._of_columns, self._input)

    @torch.no_grad()
    def attributes(self, windows: Tensor) -> Tensor:
        """The module's features.

        Args:
            windows: [N, 3, window, window] pixels 0-255.

        Returns:
            [N, features], in the dtype of the label layer's weight.
        """
        x = (windows.float() - self._mean.to(windows.device)) / self._deviation.to(windows.device)
        (module,) = self._frozen
        features: Tensor = module.to(windows.device)(x)
        return features.flatten(1).to(self.label.weight.dtype)

    def forward(self, *windows: Tensor) -> Tensor:
        """Compute the network.

        Args:
            *windows: One batch of windows for each column and, last, one for the module, [N, C, window, window] pixels 0-255
                each.

        Returns:
            Logits [N, labels].

        Raises:
            ValueError: The number of batches is another.
        """
        if len(windows) != len(self.columns) + 1:
            raise ValueError(f"windows must be one batch for each of {len(self.columns) + 1} columns, got {len(windows)}")
        *ours, theirs = windows
        features = [column(batch) for column, batch in zip(self.columns, ours, strict=True)]
        logits: Tensor = self.label(torch.cat([*features, self.attributes(theirs)], dim=1))
        return logits

    @torch.no_grad()
    def _initialise(self, seed: int) -> None:
        weight = self.label.weight
        weight.copy_(drawn(weight.shape, torch.Generator("cpu").manual_seed(seed)) * weight.shape[1] ** -0.5)
        self.label.bias.zero_()
