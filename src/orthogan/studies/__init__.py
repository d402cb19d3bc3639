"""Comparisons of the papers as one command each: many small runs on equal budgets, scored alike."""

from orthogan.studies import biggan, sngan
from orthogan.studies.cells import Study

STUDIES = {
    "stabilizers": Study(
        "stabilisers of D over settings A to F (SN-GAN, table 1)",
        sngan.StabilizersOptions,
        sngan.stabilizers,
        "setting",
    ),
    "width": Study(
        "D's last feature dimension (SN-GAN, figure 4)",
        sngan.WidthOptions,
        sngan.width,
        "last feature dimension of D",
    ),
    "table1": Study(
        "the rows of BigGAN's Table 1, in small", biggan.Table1Options, biggan.table1, "", needs_classes=True
    ),
}
"""Every study by name."""
