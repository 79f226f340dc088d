"""Dispatch room: schedules handed to the grid operator and the operator's signed answers."""
