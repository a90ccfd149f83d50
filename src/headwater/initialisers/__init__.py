"""Weights drawn or scaled so that the gradient neither vanishes nor explodes."""
