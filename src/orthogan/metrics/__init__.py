"""Scores of generated images: feature networks, distances between feature sets, and the protocol stamp.

`weights` and `extras` are light enough to run before PyTorch is imported; the rest is not.
"""
