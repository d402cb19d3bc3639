"""Comparisons of the papers as one command each: many small runs on equal budgets, scored alike."""

from orthogan.studies import biggan, projected, sngan, stability, truncation
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
    "convergence": Study(
        "how soon Projected GAN, the methods it beat and BigGAN are good (Projected GAN, figures 1 and 5)",
        projected.ConvergenceOptions,
        projected.convergence,
        "",
        reference=projected.REFERENCE,
    ),
    "projection": Study(
        "what Projected GAN's discriminator is made of (its tables 1 and 2)",
        projected.AblationOptions,
        projected.projection,
        "",
    ),
    "r1": Study(
        "what R1 costs and holds back, over BigGAN's sweep of its strength (section 4.2)",
        stability.R1Options,
        stability.r1,
        "",
        traces=True,
    ),
    "interventions": Study(
        "what holds a collapse back, from a checkpoint before it (BigGAN, appendix G)",
        stability.InterventionsOptions,
        stability.interventions,
        "",
        branches=True,
        traces=True,
    ),
    "truncation": Study(
        "pairs with and without orthogonal regularisation: which stand truncation (BigGAN, section 3.1)",
        truncation.TruncationOptions,
        truncation.truncation,
        "",
        look=truncation.look,
        tables=truncation.tables,
    ),
}
"""Every study by name."""
