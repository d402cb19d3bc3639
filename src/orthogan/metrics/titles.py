"""What the scores are called, and which way is better. Free of PyTorch."""

TITLES = {
    "frechet_distance": "Fréchet distance",
    "kernel_distance": "kernel distance",
    "clip_mmd": "CMMD",
    "classifier_score": "classifier score",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "intra_frechet_distance": "Fréchet distance within classes",
    "class_diversity": "diversity within classes",
    "conditional_accuracy": "conditional accuracy",
    "classification_accuracy_score": "classification accuracy score",
}
"""In the order of a table."""

LOWER_IS_BETTER = frozenset({"frechet_distance", "kernel_distance", "clip_mmd", "intra_frechet_distance"})
_OF_INCEPTION = {
    "frechet_distance": "FID",
    "kernel_distance": "KID",
    "classifier_score": "Inception Score",
    "intra_frechet_distance": "intra-FID",
}
_OF_PIXELS = frozenset({"conditional_accuracy", "classification_accuracy_score"})
"""By classifiers of their own, whatever the feature network is."""
CMMD_NETWORK = "timm:vit_large_patch14_clip_336.openai"


def better(score: str) -> str:
    """The word of a table for which values are better."""
    return "near 1" if score == "class_diversity" else "lower" if score in LOWER_IS_BETTER else "higher"


def short(score: str, network: str) -> str:
    """The name under a heading that tells the network: FID, KID and Inception Score belong to one alone."""
    return _OF_INCEPTION.get(score, TITLES[score]) if network == "inception" else TITLES[score]


def title(score: str, network: str) -> str:
    """The name that a reader may compare by, with the network where it depends on one."""
    alone = (network == "inception" and score in _OF_INCEPTION) or score in _OF_PIXELS
    alone |= score == "clip_mmd" and network == CMMD_NETWORK
    return short(score, network) if alone else f"{TITLES[score]} ({network})"
