"""Files on disk: what a step leaves for the next one; below both engines and the report."""
