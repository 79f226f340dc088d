"""Community simulation: agents, meters and the replay player, clients of the public API."""
