"""What happens around a run: checks, launch, progress, and the account at its end."""
