"""Decides, spawns, observes and records pipeline runs; PyPI's supervisord works beside it."""

__path__ = __import__("pkgutil").extend_path(__path__, __name__)
