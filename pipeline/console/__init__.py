"""What a person sees: options in groups, tables, errors in one line."""
