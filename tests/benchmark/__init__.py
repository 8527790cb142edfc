"""The project beside its nearest peers and the limit of the machine: `make bench`."""
