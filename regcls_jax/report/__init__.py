"""Result rows, statistics over runs, tables and figures, and the published numbers."""
