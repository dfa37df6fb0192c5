"""Real backing servers on ephemeral loopback ports, for --dev and for the tests."""
