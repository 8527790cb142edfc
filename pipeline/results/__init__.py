"""Reads an output folder back."""
