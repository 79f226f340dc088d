"""Store adapter: the node's one database."""
