"""Carbon room: emission factors and the low-carbon reward rule."""
