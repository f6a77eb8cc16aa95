"""The controller does: it looks, writes down, acts and tells. It decides nothing."""
