"""Write records for other programs: Prometheus, systemd."""
