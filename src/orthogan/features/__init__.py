"""Pretrained networks that give features of images. `weights` finds their files, and runs without PyTorch."""
