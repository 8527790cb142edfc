"""`--dry-run`: what a run would take, counted and measured but not run."""
