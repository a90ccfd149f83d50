"""What a network will do before it trains: measured under the ledger, beside what theory says."""
