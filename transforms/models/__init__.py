"""The networks: architectures, weights, labels, and the artifact built of them."""
