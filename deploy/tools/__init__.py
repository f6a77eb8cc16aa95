"""Tools that look at Headgate from outside, each in an environment of its own with hashed pins."""
