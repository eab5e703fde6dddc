"""Real systemd hosts on one machine, for the tests and the demo."""
