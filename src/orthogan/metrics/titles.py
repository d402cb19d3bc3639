"""What the scores are called. Free of PyTorch."""

TITLES = {
    "frechet_distance": "Fréchet distance",
    "kernel_distance": "kernel distance",
    "classifier_score": "classifier score",
    "precision": "precision",
    "recall": "recall",
}
"""Over any feature network, in the order of a table."""

_OF_INCEPTION = {"frechet_distance": "FID", "kernel_distance": "KID", "classifier_score": "Inception Score"}


def title(score: str, network: str) -> str:
    """The name that a reader may compare by: FID, KID and Inception Score belong to one network alone."""
    if network == "inception" and score in _OF_INCEPTION:
        return _OF_INCEPTION[score]
    return f"{TITLES[score]} ({network})"
