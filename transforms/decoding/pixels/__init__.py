"""What becomes of decoded pixels: to RGB of 8 bits in sRGB, and to the size of a network."""
