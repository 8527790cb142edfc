"""`python -m pipeline.describe`: every layer of a network and what it costs."""
