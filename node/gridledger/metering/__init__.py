"""Metering room: signed meter readings, their commitments and what is still missing."""
