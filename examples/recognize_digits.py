"""How many of a digits run's samples does a classifier of real digits take for the class they were drawn for?

    python examples/recognize_digits.py runs/digits

Trains a support vector machine on 4,000 real digits, checks it on the other 1,000, and shows it 1,000 samples,
100 of each class. Exits with 1 if fewer than 97 % are recognised.
"""

import sys

import numpy as np
from sklearn.svm import SVC

import orthogan
from orthogan.config import DataConfig
from orthogan.data import pack

WANTED = 0.97


def flat(images: np.ndarray) -> np.ndarray:
    """uint8 (N, H, W, 3) -> grey values (N, H * W) in [0, 1]."""
    return images.mean(-1).reshape(len(images), -1) / 255


def main(run: str) -> int:
    real = pack(DataConfig(source="digits"), resolution=32)
    order = np.random.default_rng(0).permutation(len(real))
    train, held_out = order[:4000], order[4000:]
    classifier = SVC(C=5).fit(flat(real.images[train]), real.labels[train])
    on_real = classifier.score(flat(real.images[held_out]), real.labels[held_out])

    samples = orthogan.load(run).sample(1000, classes=range(10), seed=1)
    on_samples = classifier.score(flat(samples), np.arange(1000) % 10)
    print(f"recognised: {on_samples:.1%} of 1,000 samples, {on_real:.1%} of 1,000 held-out real digits")
    return 0 if on_samples >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
