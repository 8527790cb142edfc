"""What the data passes through, from the path of an image to its row."""
