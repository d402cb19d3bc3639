"""Scores of generated images: feature networks, distances between feature sets, and the protocol stamp.

`weights` and `kept` are light enough to run before PyTorch is imported; the rest is not.
"""

MIN_IMAGES = 10
"""Below this on either side no score is worth its name, and precision and recall have no neighbourhoods."""
