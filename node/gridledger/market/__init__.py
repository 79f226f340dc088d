"""Market room: signed orders, books, pricing, clearing and settlement rules."""
