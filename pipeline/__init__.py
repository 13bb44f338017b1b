"""The engine: chunks in, batches through the chain, deliveries out. It knows no particular stage, source or sink."""
