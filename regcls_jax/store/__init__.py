"""Files on disk that programs leave for one another; used by both engines and the report."""
