"""The models: one file a paper."""
