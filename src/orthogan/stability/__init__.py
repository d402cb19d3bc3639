"""What becomes of the weights over a training: their singular values."""
