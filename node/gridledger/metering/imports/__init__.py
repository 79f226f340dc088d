"""Files of interval data, read row by row: each row becomes a typed row of the product or a named refusal. Pure."""
