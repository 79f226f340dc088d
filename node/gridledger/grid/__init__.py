"""The grid operator's network: its files, and a power flow over them."""
