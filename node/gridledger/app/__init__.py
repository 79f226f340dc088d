"""Wiring: the only place that joins adapters to rooms."""
