"""Command-line edge: typer commands."""
