"""Edge: readings from a broker, outcomes back to it."""
