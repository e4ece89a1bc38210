"""Show records as HTML pages."""
