"""gridledger: an energy-trading and carbon-ledger node in which nobody has to trust the node."""

__version__ = "0.1.0"
