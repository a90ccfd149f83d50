"""How a run is shown: records to plain data (``view``), plain data to text (``screen``)."""
