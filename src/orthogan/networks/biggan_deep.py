"""BigGAN-deep (Brock, Donahue and Simonyan 2019, appendix B): bottleneck blocks, twice as many, and a z that stays whole.

Channels are multiples of `width`, ch in the paper. Presets for 128, 256 and 512 pixels are in `orthogan.presets`.
"""
