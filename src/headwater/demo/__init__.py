"""The training script that ``headwater demo`` observes; it knows nothing of Headwater."""
