"""What does happen: the one hook point, the graph walk, the ledger, sites, statistics, cadence."""
