"""Chain adapter: compile, deploy, embedded chain, outbox sender and indexer."""
