"""`python -m pipeline.report`: an output folder as one self-contained HTML file."""
