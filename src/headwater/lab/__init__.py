"""Controlled experiments on ensembles of small networks, each a claim that can be refuted."""
