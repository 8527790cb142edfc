"""What an image file holds: the part that makes its first picture, and what it says of that."""
