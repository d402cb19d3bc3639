"""Scores of generated images: distances between sets of features, and the protocol stamp.

`kept` and `titles` are light enough to run before PyTorch is imported; the rest is not.
"""

MIN_IMAGES = 10
"""Below this on either side no score is worth its name, and precision and recall have no neighbourhoods."""
