"""From one machine to Dataflow: worker images, the template, and plans for more."""
