"""What only Dataflow needs: job options, the job seen from outside, the Flex Template."""
