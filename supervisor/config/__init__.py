"""What humans write down, read and resolved into run specs."""
