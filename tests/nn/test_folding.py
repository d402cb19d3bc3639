"""Folded batch norms: the same function, and none where it would be another."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogan.nn.folding import fold_batch_norms


class Standardized(nn.Conv2d):
    """Its weight in use is another one."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight - self.weight.mean((1, 2, 3), keepdim=True), self.bias)


class NormWithActivation(nn.BatchNorm2d):
    """As timm's."""

    def __init__(self, channels: int):
        super().__init__(channels)
        self.act = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(super().forward(x))


def test_norms_behind_convolutions_vanish_and_the_function_stays() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.BatchNorm2d(3),  # behind nothing
        nn.Conv2d(3, 4, 1, bias=False),
        NormWithActivation(4),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.BatchNorm2d(4),
        Standardized(4, 4, 1),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 1),
        nn.ReLU(),
        nn.BatchNorm2d(4),  # behind something else
    ).eval()
    for norm in (m for m in net if isinstance(m, nn.BatchNorm2d)):
        for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            values.data.uniform_(0.2, 2)
    x = torch.randn(2, 3, 6, 6)
    before = net(x)
    fold_batch_norms(net, lambda: net(x), kinds=(nn.Conv2d,))
    torch.testing.assert_close(net(x), before, rtol=1e-5, atol=1e-5)
    kinds = ["BatchNorm2d", "Conv2d", "ReLU6", "Conv2d", "Identity", "Standardized", "BatchNorm2d", "Conv2d", "ReLU"]
    assert [type(m).__name__ for m in net] == [*kinds, "BatchNorm2d"]
