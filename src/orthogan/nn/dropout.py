"""Drop-out whose mask is a function of a key: a forward draws nothing, and a resumed run repeats it."""

from torch import Tensor

from orthogan.nn.noise import uniforms


def drop(h: Tensor, p: float, keys: Tensor | None) -> Tensor:
    """Numbers (N, C), each 0 with chance p and else divided by 1 - p, by keys (N,), int64; without keys unchanged.

    The numbers of a row depend on its key alone (Srivastava et al. 2014, in the form that keeps the mean).
    """
    if keys is None or not p:
        return h
    return h * (uniforms(keys, 0, h.shape[1]) >= p).to(h.dtype) / (1 - p)
