"""What is kept: instance files, payload folders, the ledger."""
