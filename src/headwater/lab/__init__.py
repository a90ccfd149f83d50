"""Controlled experiments: many small networks trained at once, and what they show."""
